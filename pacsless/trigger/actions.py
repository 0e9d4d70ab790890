"""What a lane is given, what it says to do, and what it is told became of that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pacsless.bus import Message, Partition

EXHAUSTED: Final = "attempts-exhausted"
"""Code of a dead letter whose attempts left no other: the trigger died with it."""


class Fate(StrEnum):
    """What became of a batch."""

    DONE = "done"
    REFUSED = "refused"
    """It will never be taken: 400, 413, 422."""
    FAILED = "failed"
    """The function broke on it: 500, no answer in time, connection lost."""
    DOWN = "down"
    """The function or something it needs is down: 503, connection refused."""
    BUSY = "busy"
    """Somebody else is at it: 409, 429."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event in a lane."""

    message: Message
    body: bytes
    """Element of the JSON batch; empty if the record is no CloudEvent."""
    code: str = ""
    """Why it is a dead letter without being tried; empty if it is none."""

    @property
    def partition(self) -> Partition:
        """Where it was read from."""
        return self.message.partition

    @property
    def offset(self) -> int:
        """Where in its partition."""
        return self.message.offset


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send these to the function."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Bury:
    """Send this to the dead letters."""

    item: Item
    code: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`, or before something happens if that is None."""

    until: float | None


Action = Dispatch | Bury | Wait
