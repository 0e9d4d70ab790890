"""A frame table as bytes: what has to be known of a file to send any frame of it.

It lies beside the renditions as the frame index of an instance, and caches have it in
the same form: a header that says which original it is of and what all frames have in
common, then the records (`pacsless.dicom.frame_records`).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Final

from pacsless.dicom.fragments import MAX_FRAGMENTS
from pacsless.dicom.frame_records import RECORD_BYTES, FrameRecords
from pacsless.dicom.frames import FrameTable
from pacsless.dicom.transfer_syntaxes import lookup

_MAGIC: Final = b"FRAMES\0\1"
"""The last byte is the form's number, as in the key (`pacsless.identity`)."""
_HEADER: Final = struct.Struct("<8sQdQQQ8L64s")
HEADER_BYTES: Final = _HEADER.size
_MAX_RECORDS: Final = 2 * MAX_FRAGMENTS
"""Of a frame that has several pieces there is one record more than pieces."""


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """What an index says before its records.

    Attributes
    ----------
    size, modified
        Of the original it is of, as the archive has them.
    count
        Records there are; 0 if frames are native.
    checksum
        CRC-32 of the records.
    """

    size: int
    modified: float
    count: int
    checksum: int
    _facts: FrameTable

    @classmethod
    def read(cls, data: bytes) -> IndexHeader | None:
        """Read the header at the beginning of an index, or None if it is none of this form."""
        if len(data) < HEADER_BYTES:
            return None
        (magic, size, modified, frames, origin, frame_bits, count, rows, columns, samples, bits,
         swap, byte_aligned, checksum, uid) = _HEADER.unpack_from(data)  # fmt: skip
        if magic != _MAGIC or count > _MAX_RECORDS:
            return None
        syntax = lookup(uid.rstrip(b"\0").decode("ascii", "replace"))
        facts = FrameTable(
            transfer_syntax=syntax.uid,
            media_type=syntax.media_type,
            number_of_frames=frames,
            rows=rows,
            columns=columns,
            samples_per_pixel=samples,
            bits_allocated=bits,
            swap=swap,
            byte_aligned=bool(byte_aligned),
            origin=origin,
            frame_bits=frame_bits,
            records=None,
        )
        return cls(size, modified, count, checksum, facts)

    def table(self, records: FrameRecords | None) -> FrameTable:
        """Return the table, with its records wherever they lie."""
        return replace(self._facts, records=records)


def is_whole_index(data: bytes, size: int, modified: float) -> bool:
    """Whether an index is of this original, and as it was written."""
    header, records = IndexHeader.read(data), data[HEADER_BYTES:]
    return (
        header is not None
        and (header.size, header.modified) == (size, modified)
        and len(records) == header.count * RECORD_BYTES
        and zlib.crc32(records) == header.checksum
    )


def write_index(table: FrameTable, size: int, modified: float) -> bytes:
    """Return a table as bytes; those of the same file are the same.

    Parameters
    ----------
    table
        What was found.
    size, modified
        Of the original it was found in.
    """
    records = table.records.pack() if table.records else b""
    return (
        _HEADER.pack(
            _MAGIC,
            size,
            modified,
            table.number_of_frames,
            table.origin,
            table.frame_bits,
            len(records) // RECORD_BYTES,
            table.rows,
            table.columns,
            table.samples_per_pixel,
            table.bits_allocated,
            table.swap,
            table.byte_aligned,
            zlib.crc32(records),
            table.transfer_syntax.encode("ascii"),
        )
        + records
    )


def wants_index(transfer_syntax: str) -> bool:
    """Whether frames, if there are several, have to be looked for in a file.

    Those of native pixels are found by arithmetic, and a video is one stream.
    """
    syntax = lookup(transfer_syntax)
    return syntax.encapsulated and not syntax.is_video
