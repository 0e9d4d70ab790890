"""DICOM for tests: pydicom's bundled files, the shared samples, and bytes made to measure."""

from __future__ import annotations

import zlib
from pathlib import Path
from struct import pack
from typing import Final

from pydicom.data import get_testdata_file

from pacsless.dicom.part10 import file_meta
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

SAMPLES: Final = Path(__file__).parents[2] / "shared" / "dicom-samples"
"""Real and hostile files beside the repository; may be absent."""

UNDEFINED: Final = 0xFFFFFFFF
SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.7"
_LONG: Final = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


def bundled() -> list[Path]:
    """Return the DICOM files in pydicom's wheel."""
    one = get_testdata_file("CT_small.dcm", download=False)
    assert isinstance(one, str)
    # no_meta.dcm begins with a stray byte: it is not DICOM.
    return sorted(path for path in Path(one).parent.rglob("*.dcm") if path.name != "no_meta.dcm")


BUNDLED: Final = {path.name: path for path in bundled()}
"""pydicom's files by their names."""


def samples(*folders: str) -> list[Path]:
    """Return the sample files below some folders; none if there are no samples."""
    return sorted(path for folder in folders for path in (SAMPLES / folder).rglob("*.dcm"))


def element(
    tag: int, vr: str, value: bytes, *, order: str = "<", length: int | None = None
) -> bytes:
    """Write an explicit VR element; ``length`` lies about it."""
    head = pack(f"{order}HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    size = len(value) if length is None else length
    return head + (pack(f"{order}xxL", size) if vr in _LONG else pack(f"{order}H", size)) + value


def implicit(tag: int, value: bytes, *, length: int | None = None) -> bytes:
    """Write an implicit VR little endian element."""
    size = len(value) if length is None else length
    return pack("<HHL", tag >> 16, tag & 0xFFFF, size) + value


def item(value: bytes, *, undefined: bool = False) -> bytes:
    """Write an item of a sequence, or a fragment."""
    if undefined:
        return implicit(0xFFFEE000, value, length=UNDEFINED) + implicit(0xFFFEE00D, b"")
    return implicit(0xFFFEE000, value)


def sequence(tag: int, *items: bytes, undefined: bool = False) -> bytes:
    """Write an explicit VR sequence of items."""
    if undefined:
        end = implicit(0xFFFEE0DD, b"")
        return element(tag, "SQ", b"".join(items), length=UNDEFINED) + end
    return element(tag, "SQ", b"".join(items))


def fragments(*parts: bytes, table: bytes = b"", vr: str = "OB") -> bytes:
    """Write encapsulated Pixel Data."""
    content = item(table) + b"".join(item(part) for part in parts) + implicit(0xFFFEE0DD, b"")
    return element(0x7FE00010, vr, content, length=UNDEFINED)


def identifiers(number: int = 1) -> bytes:
    """Write the UIDs every instance has, in order, explicit VR little endian."""
    return b"".join(
        (
            element(0x00080016, "UI", SOP_CLASS.encode() + b"\0"),
            element(0x00080018, "UI", f"1.2.3.4.{number:04d}\0".encode()),
            element(0x0020000D, "UI", b"1.2.3\0"),
            element(0x0020000E, "UI", b"1.2.3.4\0"),
        )
    )


def part10(data_set: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """Write a PS3.10 file."""
    return file_meta(SOP_CLASS, "1.2.3.4.5", transfer_syntax) + data_set


def deflated(data_set: bytes) -> bytes:
    """Deflate a data set as PS3.5 §A.5 wants it."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data_set) + deflater.flush()
