"""Is a rendition the same instance? Read both again, by another way than it was made.

The conversion copies bytes without interpreting them; this reads attributes and
compares what they mean, and the large values word by word.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Final

from pacsless.dicom.dicom_json import find_bulk_data, read_bulk_data, to_dicom_json
from pacsless.dicom.explicit_le import Limits, swapped
from pacsless.dicom.header import BulkValue, Header, read_header
from pacsless.dicom.source import InflatingSource, Source
from pacsless.errors import Unprocessable

_CHUNK: Final = 1 << 20
_PIXEL_DATA: Final = "7FE00010"


class Mismatch(Unprocessable):
    """The rendition says something else than the original."""


def verify(original: BinaryIO, rendition: BinaryIO) -> None:
    """Compare every attribute, and the bytes of every large value.

    Raises
    ------
    Mismatch
        If they differ; the message names no value.
    Unprocessable
        If one of them cannot be read.
    """
    before, after = read_header(original), read_header(rendition)
    large: list[str] = []

    def refer(path: str) -> str:
        large.append(path)
        return path

    if to_dicom_json(before, str) != to_dicom_json(after, refer):
        raise Mismatch("attributes-differ", "the rendition's attributes differ from the original's")
    for path in large:
        if _digest(original, before, path) != _digest(rendition, after, path):
            raise Mismatch("value-differs", f"the rendition's value of {path} differs")


def _digest(file: BinaryIO, header: Header, path: str) -> bytes:
    digest = hashlib.sha256()
    value = find_bulk_data(header, path)
    if not isinstance(value, BulkValue) or value.length is None:
        digest.update(read_bulk_data(file, header, path))
        return digest.digest()
    word = value.swap
    if path == _PIXEL_DATA and word == 2:
        # By the letter OW is 16 bit words; what is found are whole pixel cells.
        word = max(int(header.get("BitsAllocated") or 16) // 8, 2)
    source = (
        InflatingSource(file, header.dataset_offset, Limits().inflated_bytes)
        if header.deflated
        else Source(file, value.offset)
    )
    end = value.offset + value.length
    for position in range(value.offset, end, _CHUNK):
        count = min(_CHUNK, end - position)
        source.fill(position, count)  # of a file that is cut off, what there is
        digest.update(swapped(source.window[position - source.start :][:count], word))
    return digest.digest()
