"""Bytes of a data set, plain or deflated, through a window that only moves forward."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO, Final

from pacsless.errors import Unprocessable

_WINDOW: Final = 16 * 1024


class ScanError(Unprocessable):
    """The bytes cannot be walked as DICOM. The message holds no values."""


class Source:
    """A window that slides over a file.

    ``start`` is the position of ``window[0]``, ``ahead`` how much to read at
    once, ``size`` the end of the file, if known.
    """

    __slots__ = ("_file", "ahead", "origin", "size", "start", "window")

    def __init__(self, file: BinaryIO, origin: int) -> None:
        self._file = file
        self.ahead = _WINDOW
        self.origin = origin
        file.seek(0, io.SEEK_END)
        self.size: int | None = file.tell()
        self.start = origin
        self.window = b""

    def fill(self, position: int, count: int) -> bool:
        """Bring ``count`` bytes at ``position`` into the window; False if there are fewer."""
        begin = position - self.start
        if begin >= 0 and begin + count <= len(self.window):
            return True
        if self.size is not None and position + count > self.size:
            count = max(0, self.size - position)
            enough = False
        else:
            enough = True
        self._file.seek(position)
        self.window = self._file.read(max(count, self.ahead))
        self.start = position
        return enough and len(self.window) >= count

    def read(self, position: int, count: int) -> bytes:
        """Return exactly ``count`` bytes at ``position``.

        Raises
        ------
        ScanError
            ``truncated``.
        """
        if not self.fill(position, count):
            raise truncated(position)
        begin = position - self.start
        return self.window[begin : begin + count]

    def left(self, position: int) -> int:
        """Return how many bytes there are from ``position`` on; negative if past the end.

        Only meaningful after `fill` returned False for that position.
        """
        return (self.size or 0) - position


class InflatingSource(Source):
    """A window over a deflated data set, inflated as far as it is read, under a limit.

    It only moves forward, as walking does.
    """

    __slots__ = ("_inflater", "_limit")

    def __init__(self, file: BinaryIO, origin: int, limit: int) -> None:
        super().__init__(file, 0)
        self._file.seek(origin)
        head = self._file.read(2)
        self._file.seek(origin)
        # PS3.5 §A.5 wants a raw deflate stream; some writers add zlib's header.
        wrapped = len(head) == 2 and head[0] == 0x78 and int.from_bytes(head, "big") % 31 == 0
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        self._limit = limit
        self.size = None

    def fill(self, position: int, count: int) -> bool:
        """Inflate until ``count`` bytes at ``position`` are in the window, or no more come."""
        wanted = position + count
        while (have := self.start + len(self.window)) < wanted and not self._inflater.eof:
            if have >= self._limit:
                raise ScanError(
                    "inflate-limit",
                    f"the deflated data set inflates past the limit of {self._limit} bytes",
                )
            room = min(max(_WINDOW, wanted - have), self._limit - have, 1 << 20)
            compressed = self._inflater.unconsumed_tail or self._file.read(_WINDOW)
            try:
                more = self._inflater.decompress(compressed, room)
            except zlib.error as error:
                raise ScanError("bad-deflate", "the deflated data set is corrupt") from error
            if not compressed and not more:
                break
            keep = max(0, position - self.start)
            self.start += min(keep, len(self.window))
            self.window = self.window[keep:] + more
        begin = position - self.start
        return begin >= 0 and begin + count <= len(self.window)

    def left(self, position: int) -> int:
        """Return how many bytes there are from ``position`` on, once all is inflated."""
        return self.start + len(self.window) - position


def truncated(position: int) -> ScanError:
    """Return the error for data that ends too early."""
    return ScanError("truncated", f"the data ends inside the element at or before byte {position}")
