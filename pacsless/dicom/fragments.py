"""Fragments of encapsulated Pixel Data, and which frame each belongs to (PS3.5 §A.4)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import unpack_from
from typing import Final

from pacsless.dicom.elements import (
    ITEM,
    SEQUENCE_DELIMITER,
    UNDEFINED,
    Element,
    Encoding,
    Source,
    bad_sequence,
    next_element,
    too_many,
    truncated,
)
from pacsless.errors import Unprocessable

EXTENDED_OFFSETS: Final = 0x7FE00001
EXTENDED_LENGTHS: Final = 0x7FE00002
MAX_FRAGMENTS: Final = 1_000_000
FAR_APART: Final = 64
"""Bytes to read at once of fragments, of which only the headers are wanted."""
# First bytes of a codestream: JPEG and JPEG-LS, JPEG 2000 and HTJ2K, JPEG XL.
_CODESTREAMS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ")


class Fragments:
    """The fragments of encapsulated Pixel Data, in 16 bytes each."""

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.lengths = array("Q")
        self.basic_offset_table = b""

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def walk(
        cls, source: Source, encoding: Encoding, position: int, ahead: int = FAR_APART
    ) -> Fragments:
        """Find the items of Pixel Data; the first is the Basic Offset Table (PS3.5 §A.4).

        Where fragments are shorter than `ahead`, so much is read at once.
        """
        found = cls()
        source.ahead = FAR_APART
        table = next_element(source, position, encoding)
        if table is None or table.tag != ITEM or table.length == UNDEFINED:
            raise bad_sequence(table or Element(0, None, 0, position))
        if table.length > 4 * MAX_FRAGMENTS:
            raise too_many(MAX_FRAGMENTS)
        found.basic_offset_table = source.read(table.offset, table.length)
        position = table.offset + table.length
        for _ in range(MAX_FRAGMENTS):
            item = next_element(source, position, encoding)
            # Some writers leave out the delimiter at the end of the file.
            if item is None or item.tag == SEQUENCE_DELIMITER:
                return found
            if item.tag != ITEM or item.length == UNDEFINED:
                raise bad_sequence(item)
            position = item.offset + item.length
            if source.size is not None and position > source.size:
                raise truncated(item.offset)
            found.offsets.append(item.offset)
            found.lengths.append(item.length)
            source.ahead = ahead if item.length < ahead else FAR_APART
        raise too_many(MAX_FRAGMENTS)

    def by_frame(self, source: Source, facts: dict[int, bytes], declared: int) -> Sequence[int]:
        """Return the number of each frame's first fragment, and their count at the end."""
        count = len(self)
        if not count:
            return (0,)
        if self._use_extended(facts):
            return range(min(count, declared) + 1)
        firsts = self._from_basic_offset_table()
        if firsts is not None and len(firsts) - 1 == declared:
            return firsts
        if declared == 1:
            return (0, count)
        if count == declared:
            return range(count + 1)
        # A table of one entry is no table: some writers stop after the first.
        if firsts is not None and len(firsts) > 2:
            return firsts[: declared + 1]
        if count < declared:  # (0028,0008) is wrong, or frames are missing
            return range(count + 1)
        starts = [
            i
            for i, offset in enumerate(self.offsets)
            if source.fill(offset, 8) and self._first_bytes(source, offset).startswith(_CODESTREAMS)
        ]
        if len(starts) == declared and starts[0] == 0:
            return [*starts, count]
        raise Unprocessable(
            "bad-fragments",
            f"{count} fragments hold {declared} frames, and no offset table tells them apart",
        )

    @staticmethod
    def _first_bytes(source: Source, offset: int) -> bytes:
        return source.window[offset - source.start : offset - source.start + 8]

    def _use_extended(self, facts: dict[int, bytes]) -> bool:
        """Take lengths from the Extended Offset Table (PS3.3 §C.7.6.3.1.8) if it is true.

        With it, a frame is one fragment; its length is without padding.
        """
        offsets = _words("Q", facts.get(EXTENDED_OFFSETS, b""))
        lengths = _words("Q", facts.get(EXTENDED_LENGTHS, b""))
        if not len(offsets) == len(lengths) == len(self):
            return False
        origin = self.offsets[0]
        if any(
            origin + offset != there or not length <= padded <= length + 1
            for offset, length, there, padded in zip(
                offsets, lengths, self.offsets, self.lengths, strict=True
            )
        ):
            return False
        self.lengths = lengths
        return True

    def _from_basic_offset_table(self) -> array[int] | None:
        """Return what the table says, or None if it names places where no fragment is."""
        table = _words("L", self.basic_offset_table)
        if not table or table[0] != 0:
            return None
        # Both rise, so that one pass over the fragments finds all entries.
        origin, firsts = self.offsets[0], array("L")
        wanted = iter(table)
        entry: int | None = next(wanted)
        for i, offset in enumerate(self.offsets):
            if entry == offset - origin:
                firsts.append(i)
                entry = next(wanted, None)
        if len(firsts) < len(table):
            return None
        firsts.append(len(self))
        return firsts


def _words(code: str, value: bytes) -> array[int]:
    """Return little endian integers; encapsulated data sets are always little endian."""
    size = 8 if code == "Q" else 4
    return array("Q", unpack_from(f"<{len(value) // size}{code}", value))
