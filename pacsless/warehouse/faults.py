"""Failures of Doris, on demand, so that its clients can be tested against them."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto


class Fault(Enum):
    """What happens to a load."""

    PUBLISH_TIMEOUT = auto()
    """It is committed, and the answer says that it is not visible yet."""
    TOO_MANY_VERSIONS = auto()
    """It fails with error -235: compaction is behind."""
    LOST_REQUEST = auto()
    """The connection breaks before the commit."""
    LOST_REPLY = auto()
    """It is committed, and the connection breaks before the answer."""


class Faults:
    """The failures of the loads to come, in order; none once they are used up."""

    def __init__(self) -> None:
        self._queue: deque[Fault] = deque()

    def add(self, fault: Fault) -> None:
        """Let the next load that has no failure assigned fail so."""
        self._queue.append(fault)

    def take(self) -> Fault | None:
        """The failure of the load that asks."""
        try:
            return self._queue.popleft()
        except IndexError:
            return None
