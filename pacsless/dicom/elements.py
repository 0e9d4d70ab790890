"""Walking the elements of a data set: tags, VRs, lengths and offsets, no values.

Everything that reads DICOM here stands on this module: it never recurses,
holds one window of the data in memory, and knows the encodings' odd corners
(PS3.5 §7). Positions are offsets in the file, or in the inflated data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from pacsless.dicom.source import InflatingSource, ScanError, Source, truncated
from pacsless.dicom.transfer_syntaxes import TransferSyntax, lookup

__all__ = [
    "ITEM",
    "ITEM_DELIMITER",
    "LONG_VRS",
    "SEQUENCE_DELIMITER",
    "SHORT_VRS",
    "UNDEFINED",
    "UNPACK",
    "Element",
    "Encoding",
    "InflatingSource",
    "PassOver",
    "ScanError",
    "Source",
    "bad_sequence",
    "encoding_of",
    "item_encoding",
    "next_element",
    "open_data_set",
    "skip_undefined",
    "too_many",
    "top_level",
    "truncated",
]

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_DELIMITER: Final = 0xFFFEE00D
SEQUENCE_DELIMITER: Final = 0xFFFEE0DD

_MAX_SKIPPED: Final = 1_000_000

# PS3.5 Table 7.1-2: these have a 16 bit length. All others, also those of
# tomorrow, have two reserved bytes and a 32 bit length (Table 7.1-1).
SHORT_VRS: Final = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US"
LONG_VRS: Final = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_VRS: Final = {
    code: (code.decode("ascii"), long)
    for codes, long in ((SHORT_VRS, False), (LONG_VRS, True))
    for code in codes.split()
}


class Encoding(NamedTuple):
    """How elements are written."""

    implicit_vr: bool
    little_endian: bool


class Element(NamedTuple):
    """One element, less its value.

    ``vr`` is None where the bytes do not tell: implicit VR, items, delimiters.
    """

    tag: int
    vr: str | None
    length: int
    offset: int


PassOver = Callable[[int, Encoding], int]
"""From the position of an element to that of one that needs a look, perhaps the same."""


def open_data_set(
    file: BinaryIO, origin: int, transfer_syntax: str, inflate_limit: int
) -> tuple[Source, Encoding]:
    """Return a window over the data set at ``origin``, and how it is really encoded.

    Raises
    ------
    ScanError
        ``truncated`` or ``bad-deflate``.
    """
    syntax = lookup(transfer_syntax)
    source = Source(file, origin)
    source.fill(origin, 8)
    if syntax.deflated and not _is_explicit(source.window[:8]):
        source = InflatingSource(file, origin, inflate_limit)
        source.fill(0, 8)
    return source, encoding_of(source.window[:8], syntax)


def encoding_of(head: bytes, syntax: TransferSyntax) -> Encoding:
    """Return how a data set is really encoded, judged by its first 8 bytes, not deflated.

    The first element tells when a transfer syntax lies about VR or byte order:
    its VR is there or not, and its group is a small number one way round only.

    Raises
    ------
    ScanError
        ``truncated``.
    """
    if len(head) < 8:
        raise ScanError("truncated", "there is no data set, not even one element")
    little, big = int.from_bytes(head[:2], "little"), int.from_bytes(head[:2], "big")
    plausible = (little <= 0x00FF, big <= 0x00FF)
    little_endian = plausible[0] if plausible[0] != plausible[1] else syntax.little_endian
    # Without a VR the element is implicit; a strange VR (two capitals) is not none.
    explicit = head[4:6] in _VRS or (
        not syntax.implicit_vr and head[4:6].isalpha() and head[4:6].isupper()
    )
    return Encoding(not explicit, little_endian)


def _is_explicit(head: bytes) -> bool:
    return head[:1] == b"\x08" and head[1:2] == b"\x00" and head[4:6] in _VRS


UNPACK: Final = {True: Struct("<HH2sH").unpack_from, False: Struct(">HH2sH").unpack_from}
"""By whether it is little endian: group, number, VR and 16 bit length from a window."""
_U32: Final = {True: Struct("<L").unpack_from, False: Struct(">L").unpack_from}


def next_element(source: Source, position: int, encoding: Encoding) -> Element | None:
    """Return the element at ``position``, or None at the very end of the data.

    Raises
    ------
    ScanError
        ``truncated``, if only a part of an element's header is left.
    """
    begin = position - source.start
    # 12 bytes are the longest header; near the end there may be but 8.
    if (begin < 0 or begin + 12 > len(source.window)) and not source.fill(position, 12):
        left = source.left(position)
        if left == 0:
            return None
        if left < 8:
            raise truncated(position)
    begin = position - source.start
    window = source.window
    implicit_vr, little_endian = encoding
    group, number, code, length = UNPACK[little_endian](window, begin)
    tag = group << 16 | number
    if group != 0xFFFE and not implicit_vr:
        known = _VRS.get(code)
        if known is None and code.isalpha() and code.isupper():
            # A VR we do not know has the long form; its reserved bytes are zero.
            known = code.decode("ascii"), window[begin + 6 : begin + 8] == b"\0\0"
        if known is not None:
            vr, long = known
            if not long:
                return Element(tag, vr, length, position + 8)
            if begin + 12 > len(window):
                raise truncated(position)
            return Element(tag, vr, _U32[little_endian](window, begin + 8)[0], position + 12)
        # Some writers switch to implicit VR inside sequences: no VR, so be it.
    return Element(tag, None, _U32[little_endian](window, begin + 4)[0], position + 8)


def item_encoding(source: Source, position: int, vr: str | None, outer: Encoding) -> Encoding:
    """Return how the items of a sequence at ``position`` are encoded.

    Those of a UN element are implicit VR little endian, whatever the transfer
    syntax (PS3.5 §6.2.2), unless their writer forgot.
    """
    if vr != "UN" or outer.implicit_vr:
        return outer
    if source.fill(position, 16):
        begin = position - source.start
        if source.window[begin + 12 : begin + 14] in _VRS:
            return outer
    return Encoding(implicit_vr=True, little_endian=True)


def skip_undefined(
    source: Source, element: Element, encoding: Encoding, pass_over: PassOver | None = None
) -> int:
    """Return the position after an element of undefined length.

    What ``pass_over`` passes over does not count towards the limit.

    Raises
    ------
    ScanError
        ``truncated``, ``bad-sequence`` or ``too-many-elements``.
    """
    position = element.offset
    # One entry per open sequence or item: (is it a sequence, how it is encoded).
    open_levels = [(True, item_encoding(source, position, element.vr, encoding))]
    for _ in range(_MAX_SKIPPED):
        in_sequence, level_encoding = open_levels[-1]
        if pass_over is not None and not in_sequence:
            position = pass_over(position, level_encoding)
        found = next_element(source, position, level_encoding)
        if found is None:
            raise truncated(position)
        tag, vr, length, position = found
        if tag == SEQUENCE_DELIMITER:
            if not in_sequence:
                open_levels.pop()  # the item's own delimiter is missing
            open_levels.pop()
            if not open_levels:
                return position
        elif in_sequence:
            if tag != ITEM:
                raise bad_sequence(found)
            if length == UNDEFINED:
                open_levels.append((False, level_encoding))
            else:
                position += length
        elif tag == ITEM_DELIMITER:
            open_levels.pop()
        elif length == UNDEFINED:
            open_levels.append((True, item_encoding(source, position, vr, level_encoding)))
        else:
            position += length
    raise too_many(_MAX_SKIPPED)


def top_level(source: Source, encoding: Encoding, limit: int) -> Iterator[Element]:
    """Walk the elements of a data set itself, not those of sequences in it.

    The caller may read an element's value from ``source`` before the next.

    Raises
    ------
    ScanError
        ``truncated``, ``bad-sequence`` or ``too-many-elements``.
    """
    position = source.origin
    for _ in range(limit):
        element = next_element(source, position, encoding)
        if element is None:
            return
        yield element
        if element.length == UNDEFINED:
            position = skip_undefined(source, element, encoding)
        else:
            position = element.offset + element.length
    raise too_many(limit)


def bad_sequence(element: Element) -> ScanError:
    """Return the error for something other than an item in a sequence."""
    return ScanError(
        "bad-sequence", f"an item was expected in the sequence before byte {element.offset}"
    )


def too_many(limit: int) -> ScanError:
    """Return the error for a data set of too many elements."""
    return ScanError("too-many-elements", f"the data set has more than {limit} elements or items")
