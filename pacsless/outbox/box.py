"""The outbox of one process, on top of its journal."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TextIO

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.errors import PacslessError
from pacsless.outbox import entries
from pacsless.outbox.entries import Depth, Entry, EntryLine, Intent
from pacsless.outbox.journal import (
    FRAME_BYTES,
    Journal,
    JournalUnavailable,
    Position,
    read_lines,
    segment_path,
    segments,
    sync_folder,
)

_SPACE_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class OutboxOwned(PacslessError):
    """Another process writes this outbox."""


class Outbox:
    """Intents and notes on their way to Kafka; thread-safe.

    Parameters
    ----------
    spool
        Folder on a durable disk; the outbox is ``outbox`` in it.
    high_water_percent
        How full the spool's disk may get before `is_full`.
    segment_bytes
        Size of the journal's files.

    Raises
    ------
    OutboxOwned
        If another process has it open.
    """

    def __init__(
        self, spool: Path, *, high_water_percent: int = 90, segment_bytes: int = 16 << 20
    ) -> None:
        self._folder = spool / "outbox"
        self._folder.mkdir(parents=True, exist_ok=True)
        sync_folder(spool)
        self._owner = _own(self._folder)
        self._low_space = 1 - high_water_percent / 100
        self._space_seen = (0.0, False)
        self._journal = Journal(self._folder, segment_bytes)
        self._changed = threading.Condition()
        self._in_flight: set[int] = set()
        """Intents whose file has no key yet; at most one a sender."""
        self._deferred: dict[int, EntryLine] = {}
        """Intents in flight the cursor has passed."""
        self._ready: deque[EntryLine] = deque()
        """What the cursor has passed and may be published now."""
        self._taken: dict[int, EntryLine] = {}
        """What the relay has; bounded by its window."""
        self._settled: set[int] = set()
        """Entries ahead of the cursor that need no publishing."""
        self._open: Counter[int] = Counter()
        """Durable entries that are not settled, by segment."""
        self._last_id = 0
        self._unfinished: list[Intent] = []
        self._recover()

    def _recover(self) -> None:
        unkept: dict[int, EntryLine] = {}
        numbers = segments(self._folder)
        for number, body in entries.read_bodies(self._folder, numbers):
            ids = entries.ids_of(body)
            self._last_id = max(self._last_id, *ids)
            if body[:1] in entries.SETTLED:
                self._settled.update(ids)
            if body[:1] == entries.INTENT:
                unkept[ids[0]] = EntryLine.read(number, body)
            else:
                for one in ids:
                    unkept.pop(one, None)
        for number, body in entries.read_bodies(self._folder, numbers):
            if body[:1] in entries.ENTRIES and entries.ids_of(body)[0] not in self._settled:
                self._open[number] += 1
        self._in_flight.update(unkept)
        self._unfinished = [line.intent() for line in unkept.values()]
        # Only the oldest may go: a newer one may say that entries before it are settled.
        self._oldest = min(self._open, default=self._journal.end.segment)
        self._cursor = Position(self._oldest, 0)
        for number in numbers:
            if number < self._oldest:
                self._journal.remove(number)

    @property
    def unfinished(self) -> tuple[Intent, ...]:
        """Intents an earlier run neither kept nor cancelled: say `kept` or `cancel` of each."""
        return tuple(self._unfinished)

    def intend(self, sealed: Sealed, key: str, records: Sequence[Record]) -> Intent:
        """Promise to publish `records` once `sealed` has its `key`; durable on return.

        Raises
        ------
        JournalUnavailable
            If the promise is not durable. It is void then.
        """
        with self._changed:
            self._last_id += 1
            number = self._last_id
            # Until it is kept the relay passes it by, whenever it sees it.
            self._in_flight.add(number)
        try:
            position = self._journal.append_durably(
                entries.intent_body(number, sealed, key, records)
            )
        except JournalUnavailable:
            # It may be in the journal all the same. The relay skips it, and so
            # does a restart, as the caller discards the file.
            with self._changed:
                self._skip(number)
            raise
        with self._changed:
            self._open[position.segment] += 1
        return Intent(number, position.segment, sealed, key)

    def kept(self, intent: Intent) -> None:
        """Say that the file has its key: its events may be published."""
        # Not durable, and need not be: a restart looks at the file instead.
        self._mark(entries.KEPT, [intent.id])
        with self._changed:
            self._in_flight.discard(intent.id)
            line = self._deferred.pop(intent.id, None)
            if line is not None:
                self._ready.append(line)
            self._changed.notify_all()

    def cancel(self, intent: Intent) -> None:
        """Take the promise back: the file got no key."""
        self._mark(entries.CANCELLED, [intent.id])
        with self._changed:
            self._skip(intent.id)
            self._settle(intent.segment)

    def note(self, records: Sequence[Record]) -> None:
        """Publish `records` when possible; a power cut soon after may lose them.

        Raises
        ------
        JournalUnavailable
            If they could not be written.
        """
        with self._changed:
            self._last_id += 1
            position = self._journal.append(entries.note_body(self._last_id, records))
            self._open[position.segment] += 1
            self._changed.notify_all()

    def take(self, limit: int, timeout: float) -> list[Entry]:
        """Hand out entries to publish, oldest first, each once until the next start.

        Parameters
        ----------
        limit
            How many at most.
        timeout
            Seconds to wait for the first one.
        """
        with self._changed:
            lines = self._advance(limit)
            if not lines:
                self._changed.wait(timeout)
                lines = self._advance(limit)
            self._taken.update((line.id, line) for line in lines)
        return [line.entry() for line in lines]

    def done(self, ids: Iterable[int]) -> None:
        """Say that the broker has acknowledged these entries."""
        settled = list(ids)
        if not settled:
            return
        # Not durable either: what is published twice has the same ids.
        self._mark(entries.DONE, settled)
        with self._changed:
            for one in settled:
                self._settle(self._taken.pop(one).segment)

    @property
    def depth(self) -> Depth:
        """How much waits for the broker."""
        with self._changed:
            # The journal is in order of time: the oldest is behind the cursor.
            passed = [*self._taken.values(), *self._ready, *self._deferred.values()]
            now = time.time()
            oldest = min((line.written_at for line in passed), default=now)
            return Depth(self._open.total(), max(0.0, now - oldest))

    @property
    def is_full(self) -> bool:
        """Whether the spool's disk is above the high-water mark."""
        seen_at, full = self._space_seen
        if time.monotonic() - seen_at > _SPACE_SECONDS:
            disk = shutil.disk_usage(self._folder)
            # Not of `total`: what is reserved for root is no space of ours.
            full = disk.free < (disk.used + disk.free) * self._low_space
            self._space_seen = time.monotonic(), full
        return full

    def close(self) -> None:
        """Give the outbox back; what is not done is published by the next owner."""
        self._journal.close()
        self._owner.close()

    def _mark(self, kind: bytes, ids: Sequence[int]) -> None:
        try:
            self._journal.append(entries.mark_body(kind, ids))
        except JournalUnavailable:
            _log.warning("a mark is missing in the journal; events may be sent again")

    def _skip(self, number: int) -> None:
        self._in_flight.discard(number)
        if self._deferred.pop(number, None) is None:
            self._settled.add(number)

    def _settle(self, segment: int) -> None:
        self._open[segment] -= 1
        self._remove_settled()

    def _remove_settled(self) -> None:
        # An intent counts as open once it is durable; until then it is deferred.
        needed = {line.segment for line in self._deferred.values()}
        while self._oldest < self._cursor.segment:
            if self._open[self._oldest] or self._oldest in needed:
                return
            del self._open[self._oldest]
            self._journal.remove(self._oldest)
            self._oldest += 1

    def _advance(self, limit: int) -> list[EntryLine]:
        """Read on from the cursor until `limit` entries may be published."""
        lines = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        end = self._journal.end
        try:
            while len(lines) < limit and self._cursor < end:
                if not self._read_segment(end, limit, lines):
                    following = Position(self._cursor.segment + 1, 0)
                    self._cursor = min(following, end)
        except OSError:
            # The cursor has passed them, and nobody else would hand them out.
            self._ready.extendleft(reversed(lines))
            raise
        self._remove_settled()
        return lines

    def _read_segment(self, end: Position, limit: int, lines: list[EntryLine]) -> bool:
        """Read on in the cursor's segment; False at its end."""
        number, offset = self._cursor
        stop = end.offset if number == end.segment else None
        try:
            with open(segment_path(self._folder, number), "rb") as file:
                file.seek(offset)
                for at, body in read_lines(file, stop):
                    if body[:1] in entries.ENTRIES:
                        self._pass(EntryLine.read(number, body), lines)
                    self._cursor = Position(number, at + len(body) + FRAME_BYTES)
                    if len(lines) == limit:
                        return True
        except FileNotFoundError:
            _log.error("a segment of the journal is gone", extra={"fields": {"segment": number}})
        return False

    def _pass(self, line: EntryLine, lines: list[EntryLine]) -> None:
        if line.id in self._settled:
            self._settled.discard(line.id)
        elif line.id in self._in_flight:
            self._deferred[line.id] = line
        else:
            lines.append(line)


def _own(folder: Path) -> TextIO:
    file = open(folder / "owner", "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise OutboxOwned(
            "outbox-owned",
            f"{folder} belongs to {owner}; stop it, or set another PACSLESS_SPOOL for this one",
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
