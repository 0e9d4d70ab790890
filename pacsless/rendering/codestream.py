"""The size a compressed frame really has: what a decoder will allocate, before it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pacsless.errors import Unprocessable

_START: Final = b"\xff\xd8"
_J2K: Final = b"\xff\x4f\xff\x51"
_JP2: Final = b"\x00\x00\x00\x0cjP  "
# ITU-T T.81 Table B.1, T.87 Table C.1: the rest of 0xC0 to 0xCF are no frame headers.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_STANDALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_LOSSLESS: Final = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
_APP0, _APP14 = 0xE0, 0xEE
_SCAN: Final = b"\xff\xda"
_MAX_SEGMENTS: Final = 1000
_MAX_SCANS: Final = 100
"""Each scan of a progressive JPEG is a walk over the whole image; encoders write a dozen."""
_MAX_BOXES: Final = 100


@dataclass(frozen=True, slots=True)
class Codestream:
    """What the headers of a codestream say."""

    data: bytes
    """It alone: a JP2 file's other boxes can ask for more planes, or hold a decoy."""
    rows: int
    columns: int
    samples: int
    tells_colour: bool = False
    """Whether a JPEG says by itself whether it is RGB (a JFIF or Adobe segment)."""
    is_lossless: bool = False
    """Whether it is a lossless JPEG, whose samples no decoder converts."""


def read_codestream(data: bytes) -> Codestream:
    """Read the headers of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream.

    Raises
    ------
    Unprocessable
        If it is none, is cut short, or would take for ever to decode.
    """
    if data.startswith(_JP2):
        data = _contiguous_codestream(data)
    if data.startswith(_J2K) and len(data) >= 42:
        return _j2k(data)
    if data.startswith(_START):
        return _jpeg(data)
    raise damaged()


def _contiguous_codestream(data: bytes) -> bytes:
    """Take the codestream out of a JP2 file, which DICOM has no place for (PS3.5 §A.4.4)."""
    position = 0
    for _ in range(_MAX_BOXES):
        begin = position + 8
        length, kind = int.from_bytes(data[position : begin - 4]), data[begin - 4 : begin]
        if length == 1:
            length, begin = int.from_bytes(data[begin : begin + 8]), begin + 8
        if kind == b"jp2c":
            return data[begin : position + length if length else None]
        if length < 8:
            break
        position += length
    return b""


def damaged() -> Unprocessable:
    """Return the error for a codestream that is none."""
    return Unprocessable("bad-codestream", "the compressed frame is damaged")


def _j2k(data: bytes) -> Codestream:
    """ITU-T T.800 §A.5.1: image and offset, in the reference grid."""
    width, height, x, y = (int.from_bytes(data[at : at + 4]) for at in (8, 12, 16, 20))
    return Codestream(data, height - y, width - x, int.from_bytes(data[40:42]))


def _jpeg(data: bytes) -> Codestream:
    if data.count(_SCAN) > _MAX_SCANS:
        raise Unprocessable("bad-codestream", "the compressed frame has more scans than any needs")
    position, tells_colour = 2, False
    for _ in range(_MAX_SEGMENTS):
        if data[position : position + 1] != b"\xff" or position + 4 > len(data):
            break
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _STANDALONE:
            position += 2
        else:
            length = int.from_bytes(data[position + 2 : position + 4])
            content = data[position + 4 : position + 2 + length]
            if marker in _FRAME_HEADERS and len(content) >= 6:
                rows, columns = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
                lossless = marker in _LOSSLESS
                return Codestream(data, rows, columns, content[5], tells_colour, lossless)
            tells_colour |= marker == _APP0 and content.startswith(b"JFIF\0")
            tells_colour |= marker == _APP14 and _is_adobe(content)
            position += 2 + max(length, 2)
    raise damaged()


def _is_adobe(content: bytes) -> bool:
    """Whether a segment is Adobe's, whole, and says RGB or YCbCr (ITU-T T.872 §6.5.3)."""
    return content.startswith(b"Adobe") and len(content) >= 12 and content[11] in (0, 1)
