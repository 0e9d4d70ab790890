"""What one process does at a time, whatever machine it is on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Self

from pacsless.bus.consumer import Consumer, Partition, Position
from pacsless.errors import Busy, Unavailable
from pacsless.settings import Settings


class Lease:
    """Held by at most one process: as one member of a group has a partition.

    Kafka gives the partition to another member when this one leaves, or has
    been silent for the session's 15 s.

    Parameters
    ----------
    settings
        Where the brokers are.
    group
        The group's id: what is done.
    topic
        One with a single partition.
    patience
        Seconds to wait for it.

    Raises
    ------
    Busy
        ``lease``: on entry, if another process has it all that time.
    Unavailable
        ``broker``; also while there is no such topic.
    """

    def __init__(self, settings: Settings, group: str, topic: str, patience: float) -> None:
        self._settings, self._group, self._topic = settings, group, topic
        self._patience = patience
        self._held = False

    def __enter__(self) -> Self:
        self._consumer = Consumer(self._settings, self._group, self._group)
        try:
            self._consumer.subscribe([self._topic], self._take, self._give, self._lose)
            deadline = time.monotonic() + self._patience
            while not self._held:
                if time.monotonic() > deadline:
                    raise Busy("lease", "another process is at it, or was killed a moment ago")
                self._consumer.poll(0.2)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._consumer.close()
        else:
            self._leave()

    def _leave(self) -> None:
        # What went wrong before is what is to be told.
        with contextlib.suppress(Unavailable):
            self._consumer.close()

    def keep(self) -> None:
        """Say that this process goes on; to be called at least every two minutes.

        Raises
        ------
        Busy
            ``lease``, if it was given to another.
        Unavailable
            ``broker``.
        """
        self._consumer.poll(0.0)
        if not self._held:
            raise Busy("lease", "this process was silent for too long, and another took over")

    def _take(self, partitions: frozenset[Partition]) -> None:
        self._held = self._held or bool(partitions)

    def _lose(self, partitions: frozenset[Partition]) -> None:
        self._held = self._held and not partitions

    def _give(self, partitions: frozenset[Partition]) -> Mapping[Partition, Position]:
        self._lose(partitions)
        return {}
