"""An instance without who the patient is, made while it is sent (PS3.18 §9.4.2.3)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack
from typing import BinaryIO, Final

from functions.wado_uri.deidentify import deidentify, require_anonymous_pixels
from functions.wado_uri.pseudonyms import Pseudonyms
from pacsless.archive import Archive
from pacsless.dicom.elements import UNDEFINED, Element, Encoding, Source, skip_undefined
from pacsless.dicom.explicit_le import is_convertible
from pacsless.dicom.header import PIXEL_DATA, BulkValue, Limits, read_header
from pacsless.dicom.part10 import file_meta
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from pacsless.errors import NotAcceptable
from pacsless.extent import Extent
from pacsless.identity import valid_uid
from pacsless.instances import Stored, open_servable

_LIMITS: Final = Limits(header_bytes=16 << 20, inline_bytes=1 << 20)
"""Values that are kept are held; larger ones are left out."""


@dataclass(frozen=True, slots=True)
class Anonymized:
    """A file in two parts: what is made, and the pixels of the one it is made of."""

    head: bytes
    pixels: Extent

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.head) + self.pixels.length

    def read(self) -> Iterator[bytes]:
        """Yield the bytes."""
        yield self.head
        yield from self.pixels.read()


def anonymized_syntax(stored_syntax: str) -> str:
    """Return the transfer syntax that an instance is anonymized in."""
    convertible = stored_syntax and is_convertible(stored_syntax)
    return EXPLICIT_VR_LITTLE_ENDIAN if convertible else stored_syntax


def anonymize(
    archive: Archive, stored: Stored, stored_syntax: str, pseudonyms: Pseudonyms
) -> Anonymized:
    """Make an instance anonymous.

    Raises
    ------
    NotAcceptable
        If it cannot be.
    Unprocessable
        If its file is broken.
    """
    file = open_servable(archive, stored, stored_syntax)
    try:
        header = read_header(file, limits=_LIMITS)
        require_anonymous_pixels(header)
        if not header.little_endian:
            raise NotAcceptable("anonymize", "the file is not encoded as it says")
        tag = next(iter(PIXEL_DATA & header.bulk.keys()))
        pixels = header.bulk[tag]
        extent = _extent(file, tag, pixels)
        vr = pixels.vr.encode("ascii")
        length = UNDEFINED if pixels.length is None else pixels.length
        sop_class = valid_uid(str(header.get("SOPClassUID") or ""), "SOPClassUID")
        sop = pseudonyms.uid(stored.identity.sop_instance_uid.encode())
        head = (
            file_meta(sop_class, sop, anonymized_syntax(stored_syntax))
            + deidentify(header, pseudonyms)
            + pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, vr, length)
        )
    except BaseException:
        file.close()
        raise
    return Anonymized(head, extent)


def _extent(file: BinaryIO, tag: int, pixels: BulkValue) -> Extent:
    offset = pixels.offset
    if pixels.length is not None:
        end = offset + pixels.length
    else:
        source = Source(file, offset)
        element = Element(tag, pixels.vr, UNDEFINED, offset)
        end = skip_undefined(source, element, Encoding(implicit_vr=False, little_endian=True))
    if end > file.seek(0, io.SEEK_END):
        raise NotAcceptable("truncated", "the stored file ends inside its pixels")
    return Extent(file, [(offset, end - offset)])
