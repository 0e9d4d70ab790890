"""Values of elements: bytes and VR to Python, without ever raising (PS3.5 §6.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from struct import unpack_from
from typing import Final

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from pacsless.dicom import text

Value = str | int | float | None

NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
"""Component groups of a person's name, in their order (PS3.5 §6.2)."""
NAME_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
"""Components of a group, as the Native DICOM Model names them (PS3.19 Table A.1.5-2)."""

BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
"""VRs whose value is bytes, not values."""
NUMERIC_TEXT: Final = frozenset({"DS", "IS"})

_PACKED: Final = {
    "US": ("H", 2),
    "SS": ("h", 2),
    "UL": ("L", 4),
    "SL": ("l", 4),
    "UV": ("Q", 8),
    "SV": ("q", 8),
    "FL": ("f", 4),
    "FD": ("d", 8),
}
_WORDS: Final = {vr: size for vr, (_, size) in _PACKED.items()} | {
    "AT": 2,
    "OW": 2,
    "OF": 4,
    "OL": 4,
    "OD": 8,
    "OV": 8,
}
# One value, a backslash is a character: leading spaces matter (PS3.5 Table 6.2-1).
_SINGLE: Final = frozenset({"LT", "ST", "UT", "UR"})
_KEEP_LEADING: Final = _SINGLE | {"PN", "UC"}
_CHARACTER_SETS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_KNOWN: Final = (
    BINARY
    | NUMERIC_TEXT
    | _CHARACTER_SETS
    | frozenset(_WORDS)
    | {"AE", "AS", "CS", "DA", "DT", "SQ", "TM", "UI", "UR"}
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,64}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def decode(vr: str, value: bytes, little_endian: bool, encoding: str) -> list[Value]:
    """Return the values of an element of a VR that has values.

    An empty one among several is None; an element that is empty has none. A
    DS or IS that is no number stays text; bytes that do not fill a binary
    number are left out.
    """
    packed = _PACKED.get(vr)
    if packed is not None:
        code, size = packed
        count = len(value) // size
        return list(unpack_from(f"{'<' if little_endian else '>'}{count}{code}", value))
    if vr == "AT":
        words = unpack_from(f"{'<' if little_endian else '>'}{len(value) // 4 * 2}H", value)
        return [f"{words[i]:04X}{words[i + 1]:04X}" for i in range(0, len(words), 2)]
    value = value.rstrip(b"\0 ")
    if not value:
        return []
    decoded = text.decode(
        value, encoding if vr in _CHARACTER_SETS else text.DEFAULT, name=vr == "PN"
    )
    if vr in _SINGLE:
        return [decoded]
    strip = str.rstrip if vr in _KEEP_LEADING else str.strip
    parts: list[Value] = [strip(part, " ") or None for part in decoded.split("\\")]
    if vr in NUMERIC_TEXT:
        return [_number(part) if isinstance(part, str) else part for part in parts]
    return [] if parts == [None] else parts


def _number(value: str) -> int | float | str:
    if _INTEGER.fullmatch(value):
        return int(value)
    if _DECIMAL.fullmatch(value):
        number = float(value)
        if number - number == 0:  # neither infinite nor NaN
            return number
    return value


def word_size(vr: str) -> int:
    """Return the size of a binary number of a VR; 1 for bytes and text."""
    return _WORDS.get(vr, 1)


def swap_size(vr: str, little_endian: bool) -> int:
    """Return how many bytes to reverse in each word to make a value little endian."""
    return 1 if little_endian else word_size(vr)


def to_little_endian(value: bytes, swap: int) -> bytes:
    """Reverse each word of ``swap`` bytes; bytes that fill none stay as they are."""
    if swap == 1:
        return value
    whole = len(value) // swap * swap
    swapped = bytearray(value)
    for i in range(swap):
        swapped[i:whole:swap] = value[swap - 1 - i : whole : swap]
    return bytes(swapped)


@lru_cache(maxsize=8192)
def dictionary_vr(tag: int, private_creator: str | None = None) -> str:
    """Return the VR of a tag, ``"UN"`` if unknown, ``"US or SS"`` and such as is."""
    if tag & 0xFFFF == 0:
        return "UL"  # group length
    try:
        if not tag >> 16 & 1:
            return dictionary_VR(tag)
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return "LO"  # private creator (PS3.5 §7.8.1)
        if private_creator:
            return private_dictionary_VR(tag, private_creator)
    except KeyError:
        pass
    return "UN"


def definite_vr(vr: str, pixel_representation: int) -> str:
    """Settle a VR that depends on other attributes (PS3.5 §A.1), or is none we know."""
    if vr in _KNOWN:
        return vr
    if vr == "US or SS":
        return "SS" if pixel_representation == 1 else "US"
    return "OW" if vr.endswith("OW") else "UN"
