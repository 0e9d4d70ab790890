"""Where the frames of an instance are in its file (PS3.5 §8, §A.4).

Only headers of elements and items are read, so a table costs a few reads, and
frames can be served as ranges of the file by whoever serves files best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from pacsless.dicom import values
from pacsless.dicom.elements import (
    UNDEFINED,
    Element,
    Encoding,
    Source,
    open_data_set,
    top_level,
)
from pacsless.dicom.fragments import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    FAR_APART,
    MAX_FRAGMENTS,
    Fragments,
)
from pacsless.dicom.frame_records import FrameRecords
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.transfer_syntaxes import TransferSyntax, lookup
from pacsless.errors import NotFound, Unprocessable

_SAMPLES: Final = 0x00280002
_PHOTOMETRIC: Final = 0x00280004
_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS: Final = 0x00280100
_FLOAT: Final = 0x7FE00008
_DOUBLE: Final = 0x7FE00009
_PIXEL_DATA: Final = 0x7FE00010
_FACTS: Final = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS})
_TABLES: Final = frozenset({EXTENDED_OFFSETS, EXTENDED_LENGTHS})

_MAX_FACT: Final = 64
_MAX_ELEMENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Byte ranges of frames, and the facts needed to serve them.

    Attributes
    ----------
    transfer_syntax
        Of the file.
    media_type
        Of one frame's bytes (PS3.18 Table 8.7.3-5).
    number_of_frames
        Frames that are really there, maybe fewer than (0028,0008) says. A
        video is one frame: its whole stream.
    rows, columns, samples_per_pixel, bits_allocated
        Image Pixel attributes, 0 if absent.
    swap
        Bytes to reverse in each word to make native frames little endian.
    byte_aligned
        False if frames of 1 bit a pixel begin inside a byte: then `ranges`
        gives all bytes a frame touches, and `bit_offset` where it begins.
    origin, frame_bits
        Where native pixels begin, and how many bits of them a frame has.
    records
        Where encapsulated frames are; None if they are native.
    """

    transfer_syntax: str
    media_type: str
    number_of_frames: int
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    swap: int
    byte_aligned: bool
    origin: int
    frame_bits: int
    records: FrameRecords | None

    @property
    def is_encapsulated(self) -> bool:
        """Whether frames are fragments."""
        return self.records is not None

    @property
    def web_transfer_syntax(self) -> str:
        """Transfer syntax to declare for frames on the web."""
        return lookup(self.transfer_syntax).web_uid

    def ranges(self, frame: int) -> list[tuple[int, int]]:
        """Return (offset, length) of each piece of a frame, numbered from 1.

        Raises
        ------
        NotFound
            If there is no such frame.
        """
        self.require(frame)
        if self.records is not None:
            return self.records.pieces(frame)
        begin = (frame - 1) * self.frame_bits
        first, end = begin // 8, (begin + self.frame_bits + 7) // 8
        return [(self.origin + first, end - first)]

    def bit_offset(self, frame: int) -> int:
        """Return how many bits of its first byte belong to the frame before."""
        self.require(frame)
        return (frame - 1) * self.frame_bits % 8

    def require(self, frame: int) -> None:
        """See that there is such a frame.

        Raises
        ------
        NotFound
            If there is none.
        """
        if not 1 <= frame <= self.number_of_frames:
            raise NotFound("no-such-frame", f"there are {self.number_of_frames} frames, from 1")


def declared_frames(file: BinaryIO) -> int:
    """Return what a file says of its Number of Frames (0028,0008), 1 if it does not.

    What follows is not looked at: a large image describes each frame there.
    """
    try:
        part10 = split_part10(file)
        source, encoding = open_data_set(file, part10.dataset_offset, part10.transfer_syntax, 0)
        for tag, _, length, offset in top_level(source, encoding, _MAX_ELEMENTS):
            if tag == _FRAMES and length <= _MAX_FACT:
                return max(1, _number("IS", source.read(offset, length), encoding))
            if tag >= _FRAMES:
                break
    except Unprocessable:
        pass  # whoever locates the frames is told
    return 1


def locate_frames(file: BinaryIO, ahead: int = FAR_APART) -> FrameTable:
    """Locate the frames of a PS3.10 file without reading its pixels.

    Offset tables are used only if they agree with the fragments themselves.

    Parameters
    ----------
    file
        It.
    ahead
        Bytes to read at once where fragments lie closer: many, where a read costs
        more than what it brings.

    Raises
    ------
    Unprocessable
        ``no-pixel-data``; ``deflated`` (frames are no ranges of the file: a
        rendition is needed); ``truncated``; ``bad-fragments``, if fragments
        cannot be told apart by frame; ``not-encapsulated``, if a compressed
        transfer syntax has native pixels.
    """
    part10 = split_part10(file)
    syntax = lookup(part10.transfer_syntax)
    if syntax.deflated:
        raise Unprocessable("deflated", "frames of a deflated data set are no ranges of its file")
    source, encoding = open_data_set(file, part10.dataset_offset, part10.transfer_syntax, 0)
    facts: dict[int, bytes] = {}
    for element in top_level(source, encoding, _MAX_ELEMENTS):
        tag, _, length, offset = element
        if tag in (_PIXEL_DATA, _FLOAT, _DOUBLE):
            return _table(source, encoding, syntax, element, facts, ahead=ahead)
        if (tag in _FACTS and length <= _MAX_FACT) or (
            tag in _TABLES and length <= 8 * MAX_FRAGMENTS
        ):
            facts[tag] = source.read(offset, length)
    raise Unprocessable("no-pixel-data", "the instance has no Pixel Data")


def _table(
    source: Source,
    encoding: Encoding,
    syntax: TransferSyntax,
    pixels: Element,
    facts: dict[int, bytes],
    *,
    ahead: int,
) -> FrameTable:
    rows, columns, samples, bits = (
        _number("US", facts.get(tag, b""), encoding) for tag in (_ROWS, _COLUMNS, _SAMPLES, _BITS)
    )
    if pixels.tag == _FLOAT:
        bits = 32
    elif pixels.tag == _DOUBLE:
        bits = 64
    declared = max(1, _number("IS", facts.get(_FRAMES, b""), encoding))
    frame_bits = 0
    records = None
    if pixels.length == UNDEFINED:
        pieces = Fragments.walk(source, encoding, pixels.offset, ahead)
        firsts = (0, len(pieces)) if syntax.is_video else pieces.by_frame(source, facts, declared)
        records = FrameRecords.of(pieces.offsets, pieces.lengths, firsts)
        count = len(firsts) - 1
    elif syntax.encapsulated:
        raise Unprocessable(
            "not-encapsulated", "Pixel Data is native, though its transfer syntax is compressed"
        )
    else:
        frame_bits = rows * columns * _bits_per_pixel(facts.get(_PHOTOMETRIC, b""), samples, bits)
        there = min(pixels.length, (source.size or 0) - pixels.offset)
        count = min(declared, there * 8 // frame_bits) if frame_bits else 0
        if frame_bits and not count:
            raise Unprocessable("truncated", "Pixel Data is shorter than one frame")
    if not count:
        raise Unprocessable("no-pixel-data", "the image has no pixels")
    return FrameTable(
        transfer_syntax=syntax.uid,
        media_type=syntax.media_type,
        number_of_frames=count,
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=bits,
        swap=_swap(pixels, bits, encoding),
        byte_aligned=frame_bits % 8 == 0 or count == 1,
        origin=pixels.offset,
        frame_bits=frame_bits,
        records=records,
    )


def _bits_per_pixel(photometric: bytes, samples: int, bits: int) -> int:
    """Return bits of a pixel in native form, subsampled chrominance included."""
    interpretation = photometric.rstrip(b"\0 ")
    if samples == 3 and interpretation.endswith(b"_422"):
        return 2 * bits  # PS3.3 §C.7.6.3.1.2: two Y for each pair of CB and CR
    return samples * bits


def _swap(pixels: Element, bits: int, encoding: Encoding) -> int:
    """Return the size of words to reverse; OW is of words even for 8 bit pixels."""
    if encoding.little_endian or pixels.length == UNDEFINED or pixels.vr == "OB":
        return 1
    return max(2, bits // 8)


def _number(vr: str, value: bytes, encoding: Encoding) -> int:
    found = values.decode(vr, value, encoding.little_endian, "")
    return found[0] if found and isinstance(found[0], int) else 0
