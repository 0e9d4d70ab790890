"""What is read by ranges, as a seekable file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, Final, cast

_READ_AHEAD: Final = 256 << 10
"""Bytes of one request: a header and the start of the pixel data, or many small frames."""

Get = Callable[[int, int], bytes]
"""Gives so many bytes from a position on."""


def open_ranges(get: Get, size: int) -> BinaryIO:
    """Open something of `size` bytes that `get` reads pieces of."""
    return cast(BinaryIO, _Ranges(get, size))


class _Ranges(io.BufferedIOBase):
    """A read is one request at most, and none if the last one brought the bytes.

    io.BufferedReader forgets what it has at a look for the end, and asks twice for
    more than its buffer holds.
    """

    def __init__(self, get: Get, size: int) -> None:
        self._get, self._size = get, size
        self._at = 0
        self._start, self._buffer = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        begin = self._at - self._start
        data = self._buffer[begin : begin + wanted] if begin >= 0 else b""
        missing = wanted - len(data)
        if missing > _READ_AHEAD:
            data += self._get(self._at + len(data), missing)
        elif missing:
            self._start = self._at + len(data)
            self._buffer = self._get(self._start, min(_READ_AHEAD, self._size - self._start))
            data += self._buffer[:missing]
        self._at += len(data)
        return data
