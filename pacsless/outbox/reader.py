"""The reading side of an outbox: what is to be published, and what the broker has."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pacsless.durable import sync_folder
from pacsless.outbox import entries
from pacsless.outbox.entries import Depth, Entry, EntryLine, Fates, OldJournal, done_ids
from pacsless.outbox.journal import (
    Position,
    done_path,
    segment_path,
    segments,
    segments_with_done,
)
from pacsless.outbox.lines import FRAME_BYTES, framed, read_lines

_log = logging.getLogger(__name__)


class _Cursor:
    """Reads the lines of a folder's segments as another process writes them.

    Parameters
    ----------
    folder
        Of the segments.
    done
        Entries that were done before, by segment: they are left out.
    """

    def __init__(self, folder: Path, done: dict[int, set[int]]) -> None:
        self._folder = folder
        self._done = done
        self.at = Position(min(segments(folder), default=0), 0)
        self.fates = Fates()
        self._file: BinaryIO | None = None

    def read(self) -> Iterator[list[EntryLine]]:
        """Read what is there now: of each line, what may be published since.

        Stop iterating when you like: reading goes on behind the last line.
        """
        # Listed first: all but the last of these are complete.
        for later in [one for one in segments(self._folder) if one > self.at.segment]:
            yield from self._rest(is_growing=False)
            self.close()
            self.at = Position(later, 0)
        yield from self._rest(is_growing=True)

    def _rest(self, *, is_growing: bool) -> Iterator[list[EntryLine]]:
        segment = self.at.segment
        if self._file is None:
            try:
                self._file = open(segment_path(self._folder, segment), "rb", buffering=0)  # noqa: SIM115
            except FileNotFoundError:
                return
        done = self._done.get(segment, set())
        for offset, body in read_lines(self._file, self.at.offset, is_growing=is_growing):
            self.at = Position(segment, offset + len(body) + FRAME_BYTES)
            if body[:1] not in entries.ENTRIES or done.isdisjoint(entries.ids_of(body)):
                yield self.fates.read(segment, body)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class OutboxReader:
    """Hands out an outbox's entries and remembers which are done.

    The backlog stays on the disk: in memory are the entries in flight and a
    cursor into the journal, however long the broker is away. What a disk
    refuses is logged, and tried again with the next call.

    Parameters
    ----------
    folder
        Of the outbox. Another process may write it; this is its only reader.
    number
        Which outbox this is, for the ids of its entries.
    """

    def __init__(self, folder: Path, number: int = 0) -> None:
        self.folder = folder
        self._number = number
        _remove_orphans(folder)
        self._done = {one: done_ids(folder, one) for one in segments(folder)}
        """What was done before this reader began, by segment."""
        self._cursor = _Cursor(folder, self._done)
        self._counting = _Cursor(folder, self._done)
        """Runs ahead, to know how much there is."""
        self._oldest = self._cursor.at.segment
        self._ready: deque[EntryLine] = deque()
        """What the cursor has passed and may be published now."""
        self._taken: dict[int, EntryLine] = {}
        """What the relay has; bounded by its window."""
        self._count = 0
        """What the counting cursor has seen that may be published, and is not done."""
        self._troubles: set[str] = set()

    def take(self, limit: int) -> list[Entry]:
        """Hand out entries to publish, oldest first, each once."""
        self._remove_settled()
        with self._logged("an outbox cannot be read; its events wait"):
            if len(self._ready) < limit:
                for publishable in self._cursor.read():
                    self._ready += publishable
                    if len(self._ready) >= limit:
                        break
        found: list[Entry] = []
        with self._logged("an entry cannot be read; it waits, and all after it"):
            while self._ready and len(found) < limit:
                line = self._ready[0]
                found.append(Entry((self._number, line.id), line.records()))
                self._taken[line.id] = self._ready.popleft()
        return found

    def done(self, ids: Iterable[int]) -> None:
        """Say that the broker has acknowledged these entries."""
        by_segment: dict[int, list[int]] = {}
        for one in ids:
            by_segment.setdefault(self._taken.pop(one).segment, []).append(one)
        for segment, settled in by_segment.items():
            self._count -= len(settled)
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
        with self._logged("an outbox cannot be counted"):
            self._count_on()
        # The journal is in order of time: the oldest is behind the cursor.
        now = time.time()
        oldest = min((line.written_at for line in self._passed()), default=now)
        waiting = self._count + len(self._counting.fates.undecided)
        return Depth(max(0, waiting), max(0.0, now - oldest))

    def close(self) -> None:
        """Stop reading."""
        self._cursor.close()
        self._counting.close()

    def _passed(self) -> Iterator[EntryLine]:
        """What the cursor has passed and is not settled."""
        yield from self._taken.values()
        yield from self._ready
        yield from self._cursor.fates.undecided.values()

    def _count_on(self) -> None:
        for publishable in self._counting.read():
            self._count += len(publishable)

    def _remove_settled(self) -> None:
        """Remove the oldest segments while nothing in them is open.

        Only the oldest may go: a newer one may say what became of an entry in
        an older one.
        """
        if self._oldest >= self._cursor.at.segment:
            return
        first = min((line.segment for line in self._passed()), default=self._cursor.at.segment)
        if self._oldest >= first:
            return
        with self._logged("a settled part of an outbox cannot be removed"):
            if self._counting.at.segment < first:
                self._count_on()
            for number in segments(self.folder):
                if number >= first:
                    break
                # In this order: what is done of one that is gone would silence another.
                done_path(self.folder, number).unlink(missing_ok=True)
                segment_path(self.folder, number).unlink(missing_ok=True)
                self._done.pop(number, None)
            self._oldest = first

    @contextmanager
    def _logged(self, trouble: str) -> Iterator[None]:
        """Catch what the disk refuses, and what cannot be read; say it when it begins."""
        try:
            yield
        except (OSError, OldJournal) as error:
            if trouble not in self._troubles:
                fields = {"outbox": self.folder.name, "errno": getattr(error, "errno", None)}
                _log.error(trouble, extra={"fields": fields}, exc_info=error)
            self._troubles.add(trouble)
        else:
            self._troubles.discard(trouble)


def _remove_orphans(folder: Path) -> None:
    """Forget what was done of segments that are gone, before others get their numbers."""
    orphans = set(segments_with_done(folder)).difference(segments(folder))
    for number in orphans:
        done_path(folder, number).unlink(missing_ok=True)
    if orphans:
        sync_folder(folder)
