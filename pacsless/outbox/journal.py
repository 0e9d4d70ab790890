"""Append-only segment files that say what reached the disk.

A line is the CRC-32 of its body, a space, the body and a line feed; a body has
no line feed. So a tail torn by a power cut, or a rotten line in the middle, is
recognised, and reading goes on behind it.
"""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pacsless.errors import Unavailable

_SUFFIX: Final = ".journal"
FRAME_BYTES: Final = 10
"""What a line has beside its body."""
_log = logging.getLogger(__name__)


class JournalUnavailable(Unavailable):
    """The disk refuses the journal; what was to be written is not durable."""


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
    synced: int = 0
    waiting: int = 0
    syncing: bool = False
    failed: bool = False
    closed: bool = False


def segments(folder: Path) -> list[int]:
    """Numbers of the segments in a folder, oldest first; none if it is not there."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def segment_path(folder: Path, number: int) -> Path:
    """Path of a segment."""
    return folder / f"{number:012d}{_SUFFIX}"


def done_path(folder: Path, number: int) -> Path:
    """Path of what is remembered of a segment's entries that are done."""
    return folder / f"{number:012d}.done"


def framed(body: bytes) -> bytes:
    """Return the line of a body."""
    return b"%08x %b\n" % (zlib.crc32(body), body)


def read_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read bodies with their offsets, from the file's position to the end of file.

    Damaged lines are logged and left out; a torn tail is left out silently, as
    nobody was told that it is durable.
    """
    offset = file.tell()
    while True:
        line = file.readline()
        if not line.endswith(b"\n"):
            return
        body = line[9:-1]
        if line[:9] == b"%08x " % zlib.crc32(body):
            yield offset, body
        else:
            _log.error("damaged line in the journal", extra={"fields": {"offset": offset}})
        offset += len(line)


class Journal:
    """Writer of a folder of segments, with group commit.

    Callers of `sync` that come while an fsync runs share the next one. After
    an fsync or a write fails the segment is given up for a new one: an fsync
    is never repeated on the same file, because the kernel marks the pages of a
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
        self._next = max(segments(folder), default=0) + 1

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
            If they could not be written whole.
        """
        lines = b"".join(map(framed, bodies))
        with self._changed:
            segment = self._writable()
            try:
                written = os.write(segment.descriptor, lines)
                while written < len(lines):
                    written += os.write(segment.descriptor, lines[written:])
            except OSError as error:
                self._give_up(segment)
                raise _unavailable("cannot write the journal", error) from error
            segment.size += len(lines)
            return segment.number

    def append_durably(self, *bodies: bytes) -> int:
        """Write lines and return when they are on the disk.

        Returns
        -------
        int
            Number of the segment they are in.

        Raises
        ------
        JournalUnavailable
            If they may not be there.
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
        """Stop writing."""
        with self._changed:
            self._retire()

    def _writable(self) -> _Segment:
        if self._current is not None and self._current.size >= self._segment_bytes:
            self._retire()
        if self._current is None:
            path = segment_path(self._folder, self._next)
            try:
                descriptor = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600
                )
            except OSError as error:
                raise _unavailable("cannot start a segment of the journal", error) from error
            segment = _Segment(self._next, descriptor)
            self._next += 1
            try:
                sync_folder(self._folder)
            except OSError as error:
                self._close_if_over(segment)
                raise _unavailable("cannot start a segment of the journal", error) from error
            self._current = segment
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
                self._give_up(segment)
        if segment.synced < end:
            raise JournalUnavailable("journal", "the journal is not durable: its disk refused")

    def _give_up(self, segment: _Segment) -> None:
        segment.failed = True
        if self._current is segment:
            self._retire()

    def _retire(self) -> None:
        segment, self._current = self._current, None
        if segment is not None:
            self._close_if_over(segment)

    def _close_if_over(self, segment: _Segment) -> None:
        if segment is not self._current and segment.waiting == 0 and not segment.closed:
            segment.closed = True
            os.close(segment.descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(what: str, error: OSError) -> JournalUnavailable:
    return JournalUnavailable("journal", f"{what}: {error.strerror or type(error).__name__}")
