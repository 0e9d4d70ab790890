"""Bytes to send that lie in a file: in one piece, in several, or off by some bits."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from pacsless.errors import Unprocessable

_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Extent:
    """Pieces of a file, sent as one."""

    file: BinaryIO
    pieces: Sequence[tuple[int, int]]
    """Offset and length of each."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        return sum(length for _, length in self.pieces)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`, counted over all pieces.

        Raises
        ------
        Unprocessable
            If the file ends before the pieces do.
        """
        stop = self.length if stop is None else stop
        before = 0
        for offset, length in self.pieces:
            begin, end = max(start - before, 0), min(stop - before, length)
            before += length
            while begin < end:
                self.file.seek(offset + begin)
                chunk = self.file.read(min(_CHUNK, end - begin))
                if not chunk:
                    raise Unprocessable("truncated", "the stored file ends inside the value")
                begin += len(chunk)
                yield chunk


def whole(file: BinaryIO) -> Extent:
    """All of a file."""
    return Extent(file, [(0, file.seek(0, io.SEEK_END))])


def realigned(data: bytes, bit_offset: int, bits: int) -> bytes:
    """Move a frame of single bits to the beginning of a byte.

    Pixel Data packs pixels without gaps between frames (PS3.5 §8.1.1), the
    first pixel in the least significant bit (PS3.5 §D.2); a frame by itself
    begins with a byte and fills its last one with zeros.
    """
    shifted = int.from_bytes(data, "little") >> bit_offset & ((1 << bits) - 1)
    return shifted.to_bytes((bits + 7) // 8, "little")
