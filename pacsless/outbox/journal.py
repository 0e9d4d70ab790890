"""Append-only segment files that say what reached the disk.

While a segment is written, NULs follow its last line: room that is on the disk
already. They are cut off when the next segment begins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pacsless.durable import sync_folder
from pacsless.errors import Unavailable
from pacsless.outbox.lines import framed

_JOURNAL: Final = ".journal"
_DONE: Final = ".done"
_ROOM: Final = 64 << 10
"""Bytes a segment grows by. An fdatasync of bytes that have their place on the disk, and
do not change the file's size, spares the file system a transaction, which is most of the
time. They must be zeros: room of fallocate(2) is converted in one when it is written to."""
_log = logging.getLogger(__name__)


class JournalUnavailable(Unavailable):
    """The disk refuses the journal; what was to be written is not durable."""


class NotDurable(JournalUnavailable):
    """What was to be written may be there after a crash all the same."""


class Position(NamedTuple):
    """Where a line begins."""

    segment: int
    offset: int


@dataclass(slots=True)
class _Segment:
    """The segment being written: `synced` bytes of `size` are known to be on the disk."""

    number: int
    descriptor: int
    size: int = 0
    room: int = 0
    """Length of the file: NULs from `size` on."""
    synced: int = 0
    waiting: int = 0
    syncing: bool = False
    failed: bool = False
    closed: bool = False

    def write(self, lines: bytes) -> None:
        """Add lines; if that fails the segment is as it was, or `failed`."""
        whole = self.room
        try:
            missing = self.size + len(lines) - self.room
            if missing > 0:
                more = -(-missing // _ROOM) * _ROOM
                self._write(bytes(more), self.room)
                self.room += more
            whole = self.size
            self._write(lines, self.size)
        except OSError:
            try:
                os.ftruncate(self.descriptor, whole)
                self.room = whole
            except OSError:
                self.failed = True
            raise
        self.size += len(lines)

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            view, offset = view[written:], offset + written

    def close(self) -> None:
        """Cut it to its lines and close it."""
        self.closed = True
        with contextlib.suppress(OSError):  # its lines are safe, and the NULs do no harm
            try:
                os.ftruncate(self.descriptor, self.size)
            finally:
                os.close(self.descriptor)


def segments(folder: Path) -> list[int]:
    """Numbers of the segments in a folder, oldest first; none if it is not there."""
    return _numbers(folder, _JOURNAL)


def segments_with_done(folder: Path) -> list[int]:
    """Numbers of the segments of which it is remembered what is done, there or not."""
    return _numbers(folder, _DONE)


def segment_path(folder: Path, number: int) -> Path:
    """Path of a segment."""
    return folder / f"{number:012d}{_JOURNAL}"


def done_path(folder: Path, number: int) -> Path:
    """Path of what is remembered of a segment's entries that are done."""
    return folder / f"{number:012d}{_DONE}"


def _numbers(folder: Path, suffix: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


class Journal:
    """Writer of a folder of segments, with group commit.

    Callers of `append_durably` that come while an fsync runs share the next
    one. After an fsync fails the segment is given up for a new one: an fsync is
    never repeated on the same file, because the kernel marks the pages of a
    failed one clean and the second would succeed for nothing.

    Parameters
    ----------
    folder
        Exists, and this is its only writer.
    segment_bytes
        Size at which a new segment is started.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._changed = threading.Condition()
        self._current: _Segment | None = None
        self._unclosed = 0
        self._is_closed = False
        # What was done of a segment that is gone must not be taken for another's.
        self._next = max([*segments(folder), *segments_with_done(folder)], default=0) + 1

    @property
    def next_segment(self) -> int:
        """Number of the segment that is started next; it grows with every writer of the folder."""
        return self._next

    def append(self, *bodies: bytes) -> int:
        """Write lines without waiting for the disk.

        Returns
        -------
        int
            Number of the segment they are in.

        Raises
        ------
        JournalUnavailable
            If they could not be written; none of them is there then.
        """
        lines = b"".join(map(framed, bodies))
        with self._changed:
            segment = self._writable()
            try:
                segment.write(lines)
            except OSError as error:
                if segment.failed:
                    self._retire()
                raise _unavailable("cannot write the journal", error) from error
            return segment.number

    def append_durably(self, *bodies: bytes) -> int:
        """Write lines and return when they are on the disk.

        Returns
        -------
        int
            Number of the segment they are in.

        Raises
        ------
        NotDurable
            If they may be there or not.
        JournalUnavailable
            If they are not there.
        """
        with self._changed:
            number = self.append(*bodies)
            segment = self._current
            assert segment is not None
            segment.waiting += 1
            try:
                self._sync(segment, segment.size)
            finally:
                segment.waiting -= 1
                self._close_if_over(segment)
            return number

    def close(self) -> None:
        """Stop writing; nothing becomes durable after this."""
        with self._changed:
            self._is_closed = True
            self._retire()
            while self._unclosed:
                self._changed.wait()

    def _writable(self) -> _Segment:
        if self._is_closed:
            raise JournalUnavailable("journal", "the journal is closed: this process is ending")
        if self._current is not None and self._current.size >= self._segment_bytes:
            self._retire()
        if self._current is None:
            path = segment_path(self._folder, self._next)
            try:
                descriptor = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise _unavailable("cannot start a segment of the journal", error) from error
            self._next += 1
            try:
                sync_folder(self._folder)
            except OSError as error:
                os.close(descriptor)
                with contextlib.suppress(OSError):  # an empty one only costs a look
                    path.unlink()
                raise _unavailable("cannot start a segment of the journal", error) from error
            self._current = _Segment(self._next - 1, descriptor)
            self._unclosed += 1
        return self._current

    def _sync(self, segment: _Segment, end: int) -> None:
        """Wait until `end` bytes are on the disk; the first who waits does the work for all."""
        while segment.synced < end and not segment.failed:
            if segment.syncing:
                self._changed.wait()
                continue
            segment.syncing = True
            target = segment.size
            self._changed.release()
            failure: OSError | None = None
            try:
                os.fdatasync(segment.descriptor)
            except OSError as error:
                failure = error
            finally:
                self._changed.acquire()
                segment.syncing = False
                self._changed.notify_all()
            if failure is None:
                segment.synced = target
            else:
                _log.error("the journal's disk refuses", extra={"fields": {"errno": failure.errno}})
                segment.failed = True
                if self._current is segment:
                    self._retire()
        if segment.synced < end:
            raise NotDurable("journal", "the journal is not durable: its disk refused")

    def _retire(self) -> None:
        segment, self._current = self._current, None
        if segment is not None:
            self._close_if_over(segment)

    def _close_if_over(self, segment: _Segment) -> None:
        if segment is not self._current and segment.waiting == 0 and not segment.closed:
            segment.close()
            self._unclosed -= 1
            self._changed.notify_all()


def _unavailable(what: str, error: OSError) -> JournalUnavailable:
    return JournalUnavailable("journal", f"{what}: {error.strerror or type(error).__name__}")
