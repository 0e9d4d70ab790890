"""What waits in the outboxes of a spool, for the one who publishes it."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from pacsless.outbox import entries
from pacsless.outbox.entries import Depth, Entry, Fates, done_ids
from pacsless.outbox.journal import segments
from pacsless.outbox.reader import OutboxReader

_LOOK_SECONDS: Final = 0.2
"""Between looks for what was written by those who have no eventfd of ours."""
_log = logging.getLogger(__name__)


class Backlog:
    """The entries of several outboxes, for one relay; thread-safe.

    Parameters
    ----------
    folders
        Says which outboxes there are; one that comes later is found, too.
    """

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self._folders = folders
        self._readers: list[OutboxReader] = []
        self._turn = 0
        self._lock = threading.Lock()
        self._look()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._event, select.POLLIN)

    @property
    def event(self) -> int:
        """Descriptor of an eventfd: writers add to it when there is something new."""
        return self._event

    def wake(self) -> None:
        """Say that there is something new, from this process."""
        os.eventfd_write(self._event, 1)

    def take(self, limit: int, timeout: float) -> list[Entry]:
        """Hand out entries to publish, of each outbox oldest first, each once until the next start.

        Parameters
        ----------
        limit
            How many at most.
        timeout
            Seconds to wait for the first one.
        """
        # In any case: those that are busy must not keep others from being found.
        if time.monotonic() >= self._look_at:
            self._look()
        found = self._take(limit)
        if not found:
            self._poll.poll(timeout * 1000)
            try:
                os.eventfd_read(self._event)
            except BlockingIOError:
                return []  # nobody has told of anything; the next call looks
            found = self._take(limit)
        return found

    def _look(self) -> None:
        """Find outboxes that are new; those that are gone are empty for ever."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        known = {one.folder for one in self._readers}
        for folder in self._folders():
            if folder not in known:
                reader = OutboxReader(folder, len(self._readers))
                with self._lock:
                    self._readers.append(reader)

    def _take(self, limit: int) -> list[Entry]:
        found: list[Entry] = []
        with self._lock:
            for _ in self._readers:
                # Another one begins each time, so that none waits behind a busy one.
                self._turn = (self._turn + 1) % len(self._readers)
                try:
                    found += self._readers[self._turn].take(limit - len(found))
                except Exception:  # noqa: BLE001  # the others' entries must not wait for it
                    _log.exception("an outbox's entries cannot be handed out")
                if len(found) >= limit:
                    break
        return found

    def done(self, ids: Iterable[tuple[int, int]]) -> None:
        """Say that the broker has acknowledged these entries."""
        by_reader: dict[int, list[int]] = {}
        for reader, one in ids:
            by_reader.setdefault(reader, []).append(one)
        with self._lock:
            for reader, some in by_reader.items():
                self._readers[reader].done(some)

    @property
    def depth(self) -> Depth:
        """How much waits for the broker."""
        with self._lock:
            depths = [reader.depth for reader in self._readers]
        return Depth(
            sum(one.entries for one in depths),
            max((one.oldest_seconds for one in depths), default=0.0),
        )

    def close(self) -> None:
        """Stop reading."""
        for reader in self._readers:
            reader.close()
        os.close(self._event)


def outbox_folders(spool: Path) -> list[Path]:
    """Folders of the outboxes in a spool, one for each process that writes or wrote there."""
    return sorted(one for one in (spool / "outbox").glob("*") if one.is_dir())


def outbox_depth(spool: Path) -> Depth:
    """Count what waits in a spool, from its journals alone: the gateway may be down."""
    entries_waiting, oldest = 0, 0.0
    now = time.time()
    for folder in outbox_folders(spool):
        waiting: dict[int, float] = {}
        fates = Fates()
        numbers = segments(folder)
        for number, body in entries.read_bodies(folder, numbers):
            publishable = fates.read(number, body)
            waiting.update((line.id, line.written_at) for line in publishable)
        waiting.update((line.id, line.written_at) for line in fates.undecided.values())
        for number in numbers:
            for one in done_ids(folder, number):
                waiting.pop(one, None)
        entries_waiting += len(waiting)
        oldest = max(oldest, *(now - at for at in waiting.values()), 0.0)
    return Depth(entries_waiting, oldest)
