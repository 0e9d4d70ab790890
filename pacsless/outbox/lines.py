"""Lines of a journal's files, which say of themselves whether they are whole.

A line is the CRC-32 of its body, a space, the body and a line feed; a body has
neither line feed nor NUL. So a tail torn by a power cut, or a rotten line in
the middle, is recognised, and reading goes on behind it.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

FRAME_BYTES: Final = 10
"""What a line has beside its body."""
_BLOCK: Final = 64 << 10
_log = logging.getLogger(__name__)


def framed(body: bytes) -> bytes:
    """Return the line of a body."""
    return b"%08x %b\n" % (zlib.crc32(body), body)


def read_lines(
    file: BinaryIO, offset: int = 0, *, is_growing: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Read bodies with their offsets, from a line's beginning to the end of file.

    Damaged lines are logged and left out; a torn tail is left out silently, as
    nobody was told that it is durable. In a file that grows, NULs are where it
    is not written yet, and end it; elsewhere they are damage.
    """
    length = _BLOCK
    while True:
        # A line is taken from one read: it may have been written since the one before.
        data = os.pread(file.fileno(), length, offset)
        is_end = len(data) < length
        if is_growing and (written := data.find(b"\0")) >= 0:
            data, is_end = data[:written], True
        *lines, _ = data.split(b"\n")
        for line in lines:
            body = line[9:]
            if line[:9] == b"%08x " % zlib.crc32(body):
                yield offset, body
            else:
                _log.error("damaged line in the journal", extra={"fields": {"offset": offset}})
            offset += len(line) + 1
        if is_end:
            return
        length = _BLOCK if lines else 2 * length
