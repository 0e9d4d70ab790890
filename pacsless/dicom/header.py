"""Everything of an instance but its large values, under limits.

pydicom's own reader recurses, inflates whole files and reads whatever length
an element claims, so elements are walked here and handed to pydicom raw.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Final, NamedTuple

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from pacsless.dicom import text, values
from pacsless.dicom.dataset import BulkValue, Header
from pacsless.dicom.elements import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    SHORT_VRS,
    UNDEFINED,
    UNPACK,
    Element,
    Encoding,
    InflatingSource,
    ScanError,
    Source,
    bad_sequence,
    item_encoding,
    next_element,
    open_data_set,
    skip_undefined,
    too_many,
    truncated,
)
from pacsless.dicom.part10 import split_part10

__all__ = ["DEFAULT_LIMITS", "BulkValue", "Header", "Limits", "read_header"]

_CHARACTER_SET: Final = 0x00080005
_SERIES: Final = 0x0020000E
_PIXEL_REPRESENTATION: Final = 0x00280103
PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and plain Pixel Data: never read here."""
PALETTES: Final = frozenset(
    {0x00281201, 0x00281202, 0x00281203, 0x00281204, 0x00281221, 0x00281222, 0x00281223}
)
"""Palette tables: viewers want them inline, whatever their size."""
_MAX_PALETTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one header may cost; the defaults suit a 512 MiB worker.

    Attributes
    ----------
    inflated_bytes
        Of a deflated data set, up to its Pixel Data.
    header_bytes
        Of all values read into memory.
    depth
        Of nested sequences.
    elements, items
        Of the whole data set.
    inline_bytes
        Larger binary values stay in the file.
    """

    inflated_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 64 * 1024 * 1024
    depth: int = 64
    elements: int = 500_000
    items: int = 100_000
    inline_bytes: int = 1024


DEFAULT_LIMITS: Final = Limits()

_EXPLICIT_LITTLE_ENDIAN: Final = Encoding(implicit_vr=False, little_endian=True)
_UNPACK: Final = UNPACK[True]
_SHORT: Final = {code: code.decode("ascii") for code in SHORT_VRS.split()}
_DECISIVE: Final = PIXEL_DATA | {0, _CHARACTER_SET, _PIXEL_REPRESENTATION}
"""Tags whose values mean something for what is to come."""
_DELIMITERS: Final = 0xFFFE
_tag: Final = lru_cache(4096)(BaseTag)


def read_header(file: BinaryIO | bytes, *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read a PS3.10 file, or a bare data set, up to its Pixel Data.

    A data set that is cut short or ends in garbage after its UIDs is returned
    as far as it goes, with a line in `Header.warnings`: whatever the gateway
    took can be indexed.

    Parameters
    ----------
    file
        Seekable; read from its beginning, wherever it is positioned.
    limits
        What it may cost.

    Raises
    ------
    ScanError
        An `Unprocessable`: ``not-dicom``, ``truncated``, ``bad-sequence``,
        ``too-deep``, ``too-many-elements``, ``too-large``, ``inflate-limit``
        or ``bad-deflate``. Messages hold no values.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    part10 = split_part10(stream)
    source, encoding = open_data_set(
        stream, part10.dataset_offset, part10.transfer_syntax, limits.inflated_bytes
    )
    header = Header()
    header.transfer_syntax = part10.transfer_syntax
    header.implicit_vr, header.little_endian = encoding
    header.deflated = isinstance(source, InflatingSource)
    header.dataset_offset = part10.dataset_offset
    reader = _Reader(source, header, encoding, limits)
    try:
        reader.read()
    except ScanError as error:
        if error.code not in _CUT_SHORT or _SERIES not in header:
            raise
        header.warnings.append(str(error))
    return header


_CUT_SHORT: Final = frozenset({"truncated", "bad-sequence", "bad-deflate"})


class _Level(NamedTuple):
    """An open data set, item or sequence; ``end`` is -1 if a delimiter ends it."""

    header: Header
    sequence: Sequence | None
    encoding: Encoding
    end: int


class _Reader:
    """Builds a header from a source, with a stack of its own instead of recursion."""

    def __init__(self, source: Source, header: Header, encoding: Encoding, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._stack = [_Level(header, None, encoding, -1)]
        self._bytes_left = limits.header_bytes
        self._items_left = limits.items
        self._elements_left = limits.elements
        self._position = source.origin

    def read(self) -> None:
        """Read until Pixel Data or the end."""
        stack = self._stack
        while self._elements_left > 0:
            while 0 <= stack[-1].end <= self._position:
                if self._position > stack[-1].end:
                    raise ScanError(
                        "bad-sequence", f"an element overruns its sequence at {self._position}"
                    )
                stack.pop()
            level = stack[-1]
            if level.sequence is None and self._read_run(level):
                continue
            self._elements_left -= 1
            element = next_element(self._source, self._position, level.encoding)
            if element is None:
                if len(stack) > 1:
                    raise truncated(self._position)
                return
            if level.sequence is not None:
                self._in_sequence(level, element)
            elif element.tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER):
                self._position = element.offset
                if len(stack) > 1:
                    stack.pop()
                    if element.tag == SEQUENCE_DELIMITER:
                        stack.pop()  # the item's own delimiter is missing
            elif len(stack) == 1 and element.tag in PIXEL_DATA:
                vr, little_endian = self._vr(level, element)
                self._keep_in_file(level.header, element, vr, little_endian)
                return
            elif len(stack) == 1 and element.tag == 0:
                return  # zeros after the data set
            else:
                self._in_data_set(level, element)
        raise too_many(self._limits.elements)

    def _read_run(self, level: _Level) -> bool:
        """Read elements as long as nothing is to be decided but where they end; False if none.

        Most of a header are elements of 16 bit length that lie in the window. Taken
        one by one as all others are, they would cost three times as much.
        """
        # An inflating source says what is wrong with its bytes element by element.
        if level.encoding != _EXPLICIT_LITTLE_ENDIAN or isinstance(self._source, InflatingSource):
            return False
        window, start, header = self._source.window, self._source.start, level.header
        begin = self._position - start
        end = len(window) if level.end < 0 else min(len(window), level.end - start)
        while 0 <= begin <= end - 8 and self._elements_left > 0:
            group, number, code, length = _UNPACK(window, begin)
            tag = group << 16 | number
            vr = _SHORT.get(code)
            value = begin + 8
            after = value + length
            if vr is None or after > end or tag in _DECISIVE or group == _DELIMITERS:
                break
            raw = RawDataElement(
                _tag(tag), vr, length, window[value:after], start + value, False, True
            )
            self._added(tag, header.add_raw(raw))
            self._elements_left -= 1
            self._spend(length)
            begin = after
        moved = start + begin > self._position
        self._position = start + begin
        return moved

    def _spend(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ScanError(
                "too-large", f"the header holds more than {self._limits.header_bytes} bytes"
            )

    def _in_sequence(self, level: _Level, element: Element) -> None:
        self._position = element.offset
        if element.tag == SEQUENCE_DELIMITER:
            self._stack.pop()
        elif element.tag == ITEM and level.sequence is not None:
            self._items_left -= 1
            if self._items_left < 0:
                raise too_many(self._limits.items)
            outer = level.header
            item = Header(None, outer.text_encoding, outer.pixel_representation)
            level.sequence.append(item)
            end = -1 if element.length == UNDEFINED else element.offset + element.length
            self._stack.append(_Level(item, None, level.encoding, end))
        else:
            raise bad_sequence(element)

    def _in_data_set(self, level: _Level, element: Element) -> None:
        tag, _, length, offset = element
        vr, little_endian = self._vr(level, element)
        if length == UNDEFINED and vr in values.BINARY:
            self._added(tag, level.header.add_bulk(tag, BulkValue(vr, offset, None)))
            self._position = skip_undefined(self._source, element, level.encoding)
        elif length == UNDEFINED or vr == "SQ":
            self._open_sequence(level, element)
        elif tag in PIXEL_DATA or (
            vr in values.BINARY
            and length > self._limits.inline_bytes
            and not (tag in PALETTES and length <= _MAX_PALETTE)
        ):
            self._keep_in_file(level.header, element, vr, little_endian)
        else:
            self._load(level, element, vr, little_endian)

    def _added(self, tag: int, added: bool) -> None:
        if not added:
            # The first one counts, as for `scan`.
            self._stack[0].header.warnings.append(f"{BaseTag(tag)} is there twice")

    def _vr(self, level: _Level, element: Element) -> tuple[str, bool]:
        """Return an element's VR, also if it does not say, and its byte order."""
        vr, little_endian = element.vr, level.encoding.little_endian
        if vr is not None and vr != "UN":
            return vr, little_endian
        known = values.dictionary_vr(element.tag, self._private_creator(level.header, element.tag))
        if known == "UN":
            # Without a VR only sequences have undefined length (PS3.5 §6.2.2).
            return "SQ" if element.length == UNDEFINED else "UN", little_endian
        if known == "SQ" and element.length not in (0, UNDEFINED):
            known = "SQ" if self._is_item_at(element.offset) else "UN"
        # A UN whose VR we know is little endian whatever the rest (PS3.5 §6.2.2).
        return "OW" if known.endswith(" OW") else known, little_endian or vr == "UN"

    def _private_creator(self, header: Header, tag: int) -> str | None:
        if not tag >> 16 & 1 or tag & 0xFF00 == 0:
            return None
        block = BaseTag(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
        creator = str(header[block].value) if block in header else ""
        return creator if len(creator) <= 64 else None

    def _is_item_at(self, offset: int) -> bool:
        return self._source.fill(offset, 4) and self._source.read(offset, 4) == b"\xfe\xff\x00\xe0"

    def _open_sequence(self, level: _Level, element: Element) -> None:
        self._position = element.offset
        if len(self._stack) >= 2 * self._limits.depth:
            raise ScanError(
                "too-deep", f"sequences are nested more than {self._limits.depth} levels deep"
            )
        sequence = Sequence()
        added = level.header.add_raw(
            DataElement(
                BaseTag(element.tag),
                "SQ",
                sequence,
                element.offset,
                element.length == UNDEFINED,
                already_converted=True,
                validation_mode=IGNORE,
            )
        )
        self._added(element.tag, added)
        encoding = item_encoding(self._source, element.offset, element.vr, level.encoding)
        end = -1 if element.length == UNDEFINED else element.offset + element.length
        self._stack.append(_Level(level.header, sequence, encoding, end))

    def _keep_in_file(self, header: Header, element: Element, vr: str, little_endian: bool) -> None:
        length = None if element.length == UNDEFINED else element.length
        swap = values.swap_size(vr, little_endian)
        bulk = BulkValue(vr, element.offset, length, swap)
        self._added(element.tag, header.add_bulk(element.tag, bulk))
        self._position = element.offset + element.length

    def _load(self, level: _Level, element: Element, vr: str, little_endian: bool) -> None:
        length, header = element.length, level.header
        if self._source.size is not None and element.offset + length > self._source.size:
            raise truncated(element.offset)
        self._spend(length)
        value = self._source.read(element.offset, length)
        self._position = element.offset + length
        tag = element.tag
        raw = RawDataElement(
            BaseTag(tag),
            vr,
            length,
            value,
            element.offset,
            level.encoding.implicit_vr,
            little_endian,
        )
        added = header.add_raw(raw)
        self._added(tag, added)
        if added and tag == _CHARACTER_SET:
            header.text_encoding = text.encoding_of(value)
        elif added and tag == _PIXEL_REPRESENTATION and length == 2:
            header.pixel_representation = int.from_bytes(
                value, "little" if little_endian else "big"
            )
