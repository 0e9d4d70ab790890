"""The reading side of an outbox: what is to be published, and what the broker has."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pacsless.outbox import entries
from pacsless.outbox.entries import Depth, Entry, EntryLine, done_ids
from pacsless.outbox.journal import (
    FRAME_BYTES,
    Position,
    done_path,
    framed,
    read_lines,
    segment_path,
    segments,
)

_log = logging.getLogger(__name__)


class _Cursor:
    """Reads the lines of a folder's segments as another process writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.at = Position(min(segments(folder), default=0), 0)
        self._file: BinaryIO | None = None

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Read what is there now: number of the segment and body.

        Stop iterating when you like: reading goes on behind the last line.
        """
        while True:
            # Looked up first: when a later segment is there, this one is complete.
            later = min((one for one in segments(self._folder) if one > self.at.segment), default=0)
            yield from self._rest()
            if not later:
                return
            self._close()
            self.at = Position(later, 0)

    def _rest(self) -> Iterator[tuple[int, bytes]]:
        try:
            if self._file is None:
                self._file = open(segment_path(self._folder, self.at.segment), "rb")  # noqa: SIM115
            self._file.seek(self.at.offset)
        except FileNotFoundError:
            return
        for offset, body in read_lines(self._file):
            self.at = Position(self.at.segment, offset + len(body) + FRAME_BYTES)
            yield self.at.segment, body

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class OutboxReader:
    """Hands out an outbox's entries and remembers which are done.

    The backlog stays on the disk: in memory are the entries in flight and a
    cursor into the journal, however long the broker is away.

    Parameters
    ----------
    folder
        Of the outbox. Another process may write it; this is its only reader.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cursor = _Cursor(folder)
        self._counting = _Cursor(folder)
        """Runs ahead, to know how much there is."""
        self._oldest = self._cursor.at.segment
        self._undecided: set[int] = set()
        """Intents the count has passed and not seen the end of."""
        self._open: dict[int, EntryLine] = {}
        """Intents the cursor has passed whose file has no key yet; at most one a sender."""
        self._ready: deque[EntryLine] = deque()
        """What the cursor has passed and may be published now."""
        self._taken: dict[int, EntryLine] = {}
        """What the relay has; bounded by its window."""
        self._unsettled: Counter[int] = Counter()
        """Entries the cursor has passed that are not settled, by segment."""
        self._done = {number: done_ids(folder, number) for number in segments(folder)}
        """What was done before, by segment; looked at when the cursor comes there."""
        self._count = -sum(map(len, self._done.values()))

    def take(self, limit: int) -> list[EntryLine]:
        """Hand out entries to publish, oldest first, each once."""
        if len(self._ready) < limit:
            for number, body in self._cursor.read():
                self._pass(number, body)
                if len(self._ready) >= limit:
                    break
        lines = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        self._taken.update((line.id, line) for line in lines)
        self._remove_settled()
        return lines

    def done(self, ids: Iterable[int]) -> None:
        """Say that the broker has acknowledged these entries."""
        by_segment: dict[int, list[int]] = {}
        for one in ids:
            by_segment.setdefault(self._taken.pop(one).segment, []).append(one)
        for segment, settled in by_segment.items():
            self._count -= len(settled)
            self._unsettled[segment] -= len(settled)
            try:
                # Not durable: what is published twice has the same ids.
                with open(done_path(self.folder, segment), "ab") as file:
                    file.write(framed(entries.mark_body(entries.DONE, *settled)))
            except OSError:
                _log.warning("a mark is missing beside the journal; events may be sent again")
        self._remove_settled()

    @property
    def depth(self) -> Depth:
        """How much waits for the broker."""
        self._count_on()
        # The journal is in order of time: the oldest is behind the cursor.
        passed = [*self._taken.values(), *self._ready, *self._open.values()]
        now = time.time()
        oldest = min((line.written_at for line in passed), default=now)
        return Depth(self._count, max(0.0, now - oldest))

    def _pass(self, number: int, body: bytes) -> None:
        kind = body[:1]
        if kind in entries.ENTRIES:
            line = EntryLine.read(number, body)
            if line.id in self._done.get(number, ()):
                return
            self._unsettled[number] += 1
            if kind == entries.INTENT:
                self._open[line.id] = line
            else:
                self._ready.append(line)
            return
        for one in entries.ids_of(body):
            # None where the entry was done before the last restart.
            decided = self._open.pop(one, None)
            if decided is not None and kind == entries.KEPT:
                self._ready.append(decided)
            elif decided is not None:
                self._unsettled[decided.segment] -= 1

    def _count_on(self) -> None:
        for _, body in self._counting.read():
            kind, ids = body[:1], entries.ids_of(body)
            if kind in entries.ENTRIES:
                self._count += 1
                if kind == entries.INTENT:
                    self._undecided.update(ids)
            else:
                known = self._undecided.intersection(ids)
                self._undecided -= known
                if kind == entries.CANCELLED:
                    self._count -= len(known)

    def _remove_settled(self) -> None:
        """Remove the oldest segments while nothing in them is open.

        Only the oldest may go: a newer one may say what became of an entry in
        an older one.
        """
        while self._oldest < self._cursor.at.segment and not self._unsettled[self._oldest]:
            if self._counting.at.segment <= self._oldest:
                self._count_on()
            segment_path(self.folder, self._oldest).unlink(missing_ok=True)
            done_path(self.folder, self._oldest).unlink(missing_ok=True)
            del self._unsettled[self._oldest]
            self._done.pop(self._oldest, None)
            self._oldest = min(segments(self.folder), default=self._oldest + 1)


class Backlog:
    """The entries of several outboxes, for one relay; thread-safe.

    Parameters
    ----------
    folders
        Of the outboxes.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._readers = [OutboxReader(folder) for folder in folders]
        self._turn = 0
        self._lock = threading.Lock()
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
        found = self._take(limit)
        if not found:
            self._poll.poll(timeout * 1000)
            try:
                os.eventfd_read(self._event)
            except BlockingIOError:
                return []  # nobody has written
            found = self._take(limit)
        return found

    def _take(self, limit: int) -> list[Entry]:
        found: list[Entry] = []
        with self._lock:
            for _ in self._readers:
                # Another one begins each time, so that none waits behind a busy one.
                self._turn = (self._turn + 1) % len(self._readers)
                lines = self._readers[self._turn].take(limit - len(found))
                found += [Entry((self._turn, line.id), line.records()) for line in lines]
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
        numbers = segments(folder)
        for _, body in entries.read_bodies(folder, numbers):
            if body[:1] in entries.ENTRIES:
                line = EntryLine.read(0, body)
                waiting[line.id] = line.written_at
            elif body[:1] == entries.CANCELLED:
                for one in entries.ids_of(body):
                    waiting.pop(one, None)
        for number in numbers:
            for one in done_ids(folder, number):
                waiting.pop(one, None)
        entries_waiting += len(waiting)
        oldest = max(oldest, *(now - at for at in waiting.values()), 0.0)
    return Depth(entries_waiting, oldest)
