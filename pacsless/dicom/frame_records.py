"""Where encapsulated frames are, in records of one size.

First one record a frame; it says where the frame is or, if it lies in several
fragments, which of the records behind them say so. Whoever has the records in a
file finds frame 50,000 as quickly as the first: by one read, two if it is in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, Self

from pacsless.errors import Unprocessable

_RECORD: Final = Struct("<QLL")
"""Offset in the file, length, 1. Of a frame in pieces: number of the record of its
first piece, 0, number of pieces."""
RECORD_BYTES: Final = _RECORD.size


class BadRecord(Unprocessable):
    """A record cannot be true of the file."""


class FrameRecords:
    """Records, wherever they lie.

    Parameters
    ----------
    read
        Gives so many bytes of them, from a position on.
    count
        How many there are.
    file_size
        Nothing can be beyond it.
    """

    __slots__ = ("_file_size", "_read", "count")

    def __init__(self, read: Callable[[int, int], bytes], count: int, file_size: int) -> None:
        self._read, self.count, self._file_size = read, count, file_size

    @classmethod
    def of(cls, offsets: Sequence[int], lengths: Sequence[int], firsts: Sequence[int]) -> Self:
        """Make the records of fragments, by the number of each frame's first, and of all."""
        frames = len(firsts) - 1
        data, behind = bytearray(frames * RECORD_BYTES), bytearray()
        for frame in range(frames):
            first, end = firsts[frame], firsts[frame + 1]
            record = (offsets[first], lengths[first], 1) if end > first else (0, 0, 1)
            if end - first > 1:
                record = (frames + len(behind) // RECORD_BYTES, 0, end - first)
                for i in range(first, end):
                    behind += _RECORD.pack(offsets[i], lengths[i], 1)
            _RECORD.pack_into(data, frame * RECORD_BYTES, *record)
        data += behind
        end = offsets[-1] + lengths[-1] if offsets else 0
        return cls.packed(bytes(data), end)

    @classmethod
    def packed(cls, data: bytes, file_size: int) -> Self:
        """Take records that are in memory."""

        def read(position: int, length: int) -> bytes:
            return data[position : position + length]

        return cls(read, len(data) // RECORD_BYTES, file_size)

    def pack(self) -> bytes:
        """Return all of them."""
        return self._read(0, self.count * RECORD_BYTES)

    def pieces(self, frame: int) -> list[tuple[int, int]]:
        """Return (offset, length) of each piece of a frame, numbered from 1.

        Raises
        ------
        BadRecord
            If the records cannot be those of the file.
        """
        [(offset, length, pieces)] = self._records(frame - 1, 1)
        found = [(offset, length)] if pieces == 1 else [
            (offset, length) for offset, length, _ in self._records(offset, pieces)
        ]  # fmt: skip
        if any(offset + length > self._file_size for offset, length in found):
            raise BadRecord("frame-index", "the index names a place that is not in the file")
        return found

    def _records(self, first: int, count: int) -> list[tuple[int, ...]]:
        data = b""
        if first + count <= self.count:
            data = self._read(first * RECORD_BYTES, count * RECORD_BYTES)
        if not data or len(data) != count * RECORD_BYTES:
            raise BadRecord("frame-index", "the index ends before the frame")
        return list(_RECORD.iter_unpack(data))
