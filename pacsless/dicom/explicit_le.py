"""Any uncompressed instance as Explicit VR Little Endian: what the web requires.

PS3.18 §8.7.3 bans Implicit VR and Big Endian from the web, and a frame of a
deflated data set is nowhere in the file. The conversion copies values and swaps
words; it interprets none, so a value no library would accept comes out as it
went in. It streams: memory does not grow with the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import pack
from typing import BinaryIO, Final

from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from pacsless.dicom.elements import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    UNDEFINED,
    Element,
    Encoding,
    ScanError,
    Source,
    bad_sequence,
    item_encoding,
    next_element,
    open_data_set,
    too_many,
    truncated,
)
from pacsless.dicom.part10 import Part10, file_meta, split_part10
from pacsless.dicom.scan import scan
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup
from pacsless.errors import Unprocessable

Write = Callable[[bytes], object]

_PIXEL_DATA: Final = 0x7FE00010
_BITS_ALLOCATED: Final = 0x00280100
_PIXEL_REPRESENTATION: Final = 0x00280103
_CHUNK: Final = 1 << 20
_MAX_SHORT: Final = 0xFFFF

# PS3.5 Table 6.2-1 and §7.3. AT is two 16 bit numbers, group and element.
_WORD: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), 8),
}
_TYPE_CODE: Final = {2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one conversion may cost."""

    inflated_bytes: int = 1 << 30
    depth: int = 64
    elements: int = 1_000_000


@dataclass(frozen=True, slots=True)
class _Level:
    """A data set or item being copied (``items`` False), or the items of a sequence."""

    items: bool
    end: int | None
    encoding: Encoding
    bits_allocated: int = 0
    signed: bool = False


def is_convertible(transfer_syntax: str) -> bool:
    """Whether data sets in a transfer syntax are uncompressed, so that this module applies."""
    syntax = lookup(transfer_syntax)
    return not syntax.encapsulated and not syntax.referenced


def convert(file: BinaryIO, write: Write, *, limits: Limits = Limits()) -> None:
    """Write the Explicit VR Little Endian form of a PS3.10 file, itself one.

    Sequences and items get undefined length, and group lengths are dropped:
    both change with the encoding.

    Parameters
    ----------
    file
        The original.
    write
        Takes the bytes as they come. What was written is worthless if this raises.
    limits
        A file beyond them is refused.

    Raises
    ------
    Unprocessable
        ``compressed``, or a `ScanError`: ``truncated``, ``invalid-length``,
        ``bad-sequence``, ``too-deep``, ``too-many-elements``, ``inflate-limit``,
        ``bad-deflate``, ``not-dicom``.
    """
    part10 = split_part10(file)
    if not is_convertible(part10.transfer_syntax):
        raise Unprocessable("compressed", "Pixel Data is compressed: it must be decoded")
    source, encoding = open_data_set(
        file, part10.dataset_offset, part10.transfer_syntax, limits.inflated_bytes
    )
    write(file_meta_of(file, part10, EXPLICIT_VR_LITTLE_ENDIAN))
    if encoding == Encoding(implicit_vr=False, little_endian=True):
        _copy_rest(source, write)
    else:
        _Transcription(source, write, limits).run(encoding)


def file_meta_of(file: BinaryIO, part10: Part10, transfer_syntax: str) -> bytes:
    """Return the File Meta Information of a file in another transfer syntax."""
    return file_meta(*_sop(file, part10), transfer_syntax)


def _sop(file: BinaryIO, part10: Part10) -> tuple[str, str]:
    """SOP Class and Instance UID of the data set: others' files may name others in front."""
    file.seek(part10.dataset_offset)
    try:
        found = scan(file, part10.transfer_syntax)
    except ScanError:
        return part10.sop_class_uid, part10.sop_instance_uid
    sop_class = found.sop_class_uid or part10.sop_class_uid
    sop_instance = found.sop_instance_uid or part10.sop_instance_uid
    # Not known to be UIDs; what is not even ASCII cannot be written as one.
    return sop_class if sop_class.isascii() else "", sop_instance if sop_instance.isascii() else ""


def _copy_rest(source: Source, write: Write) -> None:
    position = source.origin
    while True:
        source.fill(position, _CHUNK)
        chunk = source.window[position - source.start :]
        if not chunk:
            return
        write(chunk)
        position += len(chunk)


class _Transcription:
    """One walk over a data set, writing as it goes; it never recurses."""

    def __init__(self, source: Source, write: Write, limits: Limits) -> None:
        self._source = source
        self._write = write
        self._limits = limits
        self._levels: list[_Level] = []

    def run(self, encoding: Encoding) -> None:
        position = self._source.origin
        self._levels = [_Level(items=False, end=None, encoding=encoding)]
        for _ in range(self._limits.elements):
            while (end := self._levels[-1].end) is not None and position >= end:
                if position > end:
                    raise ScanError("invalid-length", f"a value passes its item at byte {end}")
                self._close()
            element = next_element(self._source, position, self._levels[-1].encoding)
            if element is None:
                if len(self._levels) > 1:
                    raise truncated(position)
                return
            position = self._step(element)
        raise too_many(self._limits.elements)

    def _step(self, element: Element) -> int:
        """Write one element or open or close a level; return the next position."""
        level = self._levels[-1]
        tag, _, length, offset = element
        if level.items:
            if tag == SEQUENCE_DELIMITER:
                self._close()
            elif tag == ITEM:
                self._write(pack("<HHL", 0xFFFE, 0xE000, UNDEFINED))
                self._open(replace(level, items=False, end=_end(offset, length)))
            else:
                raise bad_sequence(element)
            return offset
        if tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER):
            if len(self._levels) == 1:
                raise bad_sequence(element)
            self._close()
            if tag == SEQUENCE_DELIMITER:  # the item's own delimiter is missing
                self._close()
            return offset
        vr = self._vr(element, level)
        if vr == "SQ" or length == UNDEFINED:
            if tag == _PIXEL_DATA:
                raise Unprocessable("compressed", "Pixel Data is compressed: it must be decoded")
            inner = item_encoding(self._source, offset, element.vr, level.encoding)
            self._write(_header(tag, "SQ", UNDEFINED))
            self._open(replace(level, items=True, end=_end(offset, length), encoding=inner))
            return offset
        self._note(tag, length, offset)
        if tag & 0xFFFF:
            self._value(tag, vr, length, offset)
        return offset + length

    def _open(self, level: _Level) -> None:
        if len(self._levels) >= 2 * self._limits.depth:
            raise ScanError("too-deep", f"sequences nest deeper than {self._limits.depth}")
        outer = self._levels[-1].end
        if outer is not None and level.end is not None and level.end > outer:
            raise ScanError("invalid-length", f"a sequence passes its item at byte {outer}")
        self._levels.append(level)

    def _close(self) -> None:
        closed = self._levels.pop()
        if not self._levels:
            raise ScanError("bad-sequence", "a sequence ends that never began")
        self._write(pack("<HHL", 0xFFFE, 0xE0DD if closed.items else 0xE00D, 0))

    def _note(self, tag: int, length: int, offset: int) -> None:
        """Remember what the meaning of later values depends on."""
        if tag not in (_BITS_ALLOCATED, _PIXEL_REPRESENTATION) or length != 2:
            return
        level = self._levels[-1]
        order = "little" if level.encoding.little_endian else "big"
        number = int.from_bytes(self._source.read(offset, 2), order)  # type: ignore[arg-type]
        self._levels[-1] = (
            replace(level, bits_allocated=number)
            if tag == _BITS_ALLOCATED
            else replace(level, signed=number == 1)
        )

    def _vr(self, element: Element, level: _Level) -> str:
        if element.vr is not None:
            return element.vr if element.vr in STANDARD_VR else "UN"
        if element.length == UNDEFINED:
            return "SQ"
        return _implied_vr(element.tag, level.signed)

    def _value(self, tag: int, vr: str, length: int, offset: int) -> None:
        level = self._levels[-1]
        if vr not in EXPLICIT_VR_LENGTH_32 and length > _MAX_SHORT:
            vr = "UN"  # PS3.5 §6.2.2 note 5: it does not fit the short form
            word = 1
        else:
            word = 1 if level.encoding.little_endian else _WORD.get(vr, 1)
        if tag == _PIXEL_DATA and word == 2 and level.bits_allocated in (32, 64):
            # By the letter OW is 16 bit words; every known writer and reader
            # swaps whole pixel cells.
            word = level.bits_allocated // 8
        self._write(_header(tag, vr, length))
        for start in range(offset, offset + length, _CHUNK):
            count = min(_CHUNK, offset + length - start)
            self._write(swapped(self._source.read(start, count), word))


def swapped(data: bytes, word: int) -> bytes:
    """Reverse the bytes of each word; what is left of the last one stays as it is."""
    if word == 1:
        return data
    whole = len(data) - len(data) % word
    words = array(_TYPE_CODE[word], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


def _end(offset: int, length: int) -> int | None:
    return None if length == UNDEFINED else offset + length


def _header(tag: int, vr: str, length: int) -> bytes:
    code = vr.encode("ascii")
    if vr in EXPLICIT_VR_LENGTH_32:
        return pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, code, length)
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, code, length)


def _implied_vr(tag: int, signed: bool) -> str:
    """VR of an element in an implicit VR data set (PS3.5 §A.1, PS3.6)."""
    group, number = tag >> 16, tag & 0xFFFF
    if group % 2:
        return "LO" if 0x10 <= number <= 0xFF else "UN"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UL" if number == 0 else "UN"
    if vr == "US or SS":
        return "SS" if signed else "US"
    # The other choices are all between bytes and words, which are the same here.
    return "OW" if " or " in vr else vr
