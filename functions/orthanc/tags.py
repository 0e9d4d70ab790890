"""The attributes of an instance as Orthanc's JSON has them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, private_dictionary_description, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement

from pacsless.dicom import text, values
from pacsless.dicom.dataset import Header
from pacsless.errors import NotFound

LONGEST: Final = 256
"""Characters of a value that is told; of longer ones Orthanc says that they are too long."""
_NUMBERS: Final = frozenset({"FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
_STEP: Final = re.compile(r"([0-9A-Fa-f]{4})[-,]?([0-9A-Fa-f]{4})", re.ASCII)
_NO_LETTER: Final = re.compile(r"[^A-Za-z0-9]")


def full(header: Header) -> dict[str, Any]:
    """Return the attributes by tag, each with its name and type."""
    said: dict[str, Any] = {}
    for tag, kind, value in _elements(header):
        if isinstance(value, list):
            value = [full(item) for item in value]  # noqa: PLW2901
        creator = _creator(header, tag)
        said[_number(tag)] = {
            "Name": _name(tag, creator),
            **({"PrivateCreator": creator} if creator else {}),
            "Type": kind,
            "Value": value,
        }
    return said


def short(header: Header) -> dict[str, Any]:
    """Return the values by tag."""
    return {
        _number(tag): [short(item) for item in value] if isinstance(value, list) else value
        for tag, _, value in _elements(header)
    }


def simplified(header: Header) -> dict[str, Any]:
    """Return the values by name."""
    said = {
        _name(tag, _creator(header, tag)): (
            [simplified(item) for item in value] if isinstance(value, list) else value
        )
        for tag, _, value in _elements(header)
    }
    return dict(sorted(said.items()))


def written(header: Header, asked: Mapping[str, object]) -> dict[str, Any]:
    """Return the attributes as ``simplify`` or ``short`` asks for them."""
    if "simplify" in asked:
        return simplified(header)
    return short(header) if "short" in asked else full(header)


def _elements(header: Header) -> Iterator[tuple[int, str, Any]]:
    """Yield tag, type and value of each attribute; of a sequence, its items."""
    found: dict[int, RawDataElement | DataElement | None] = dict.fromkeys(header.bulk)
    found.update({int(one.tag): one for one in header.raw_elements()})
    for tag, element in sorted(found.items()):
        if tag & 0xFFFF == 0:
            continue  # group lengths say nothing of the instance
        if isinstance(element, DataElement):
            items = element.value if element.VR == "SQ" else None
            if items is not None:
                yield tag, "Sequence", [one for one in items if isinstance(one, Header)]
                continue
        if not isinstance(element, RawDataElement):
            yield tag, "Null", None
            continue
        vr = values.definite_vr(element.VR or "UN", header.pixel_representation)
        if vr in values.BINARY:
            yield tag, "Null", None
            continue
        said = _text(element, vr, header.text_encoding)
        yield (tag, "String", said) if len(said) <= LONGEST else (tag, "TooLong", None)


def _text(element: RawDataElement, vr: str, encoding: str) -> str:
    raw = element.value or b""
    if vr in _NUMBERS or vr == "AT":
        found = values.decode(vr, raw, element.is_little_endian, encoding)
        return "\\".join(f"{one:.17g}" if isinstance(one, float) else str(one) for one in found)
    # As it is written: a DS of 1.50 is no other text here, as it is in DICOM JSON.
    return text.decode(raw.strip(b"\0 "), encoding, name=vr == "PN").strip(" ")


def _number(tag: int) -> str:
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def _creator(header: Header, tag: int) -> str:
    """Return who has reserved a private attribute (PS3.5 §7.8.1)."""
    if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
        return ""
    block = tag & 0xFFFF0000 | (tag & 0xFF00) >> 8
    element = header.get_item(block) if block in header else None
    if not isinstance(element, RawDataElement):
        return ""
    return _text(element, "LO", header.text_encoding)[:64]


def _name(tag: int, creator: str) -> str:
    if tag >> 16 & 1:
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return "PrivateCreator"
        try:
            described = private_dictionary_description(tag, creator)
        except KeyError:
            return "Unknown"
        words = _NO_LETTER.sub(" ", described).split()
        return "".join(word[0].upper() + word[1:] for word in words) or "Unknown"
    return keyword_for_tag(tag) or "Unknown"


def path_of(segments: str) -> tuple[list[str], bool]:
    """Read the way to an element, or to an item of a sequence.

    Returns
    -------
    tuple
        Tags of eight digits and indices from 0 in turn; and whether it ends at a tag.

    Raises
    ------
    NotFound
        If it is no way.

    Examples
    --------
    >>> path_of("0010-1002/0/0010-0020"), path_of("0010,1002/1")
    ((['00101002', '0', '00100020'], True), (['00101002', '1'], False))
    """
    steps = []
    for place, segment in enumerate(segments.split("/")):
        if place % 2:
            known = re.fullmatch(r"[0-9]{1,6}", segment, re.ASCII)
            step = segment if known else ""
        else:
            step = _tag(segment)
        if not step or place > 128:
            raise NotFound("no-such-attribute", "the instance has no such attribute")
        steps.append(step)
    return steps, len(steps) % 2 == 1


def _tag(segment: str) -> str:
    if found := _STEP.fullmatch(segment):
        return f"{found[1]}{found[2]}".upper()
    tag = tag_for_keyword(segment)
    return "" if tag is None else f"{tag:08X}"


def children(header: Header, steps: list[str]) -> list[str] | None:
    """List what is in a data set, or in a sequence; None if the way ends at a value.

    Raises
    ------
    NotFound
        If there is nothing at its end.
    """
    here: Header | list[Header] = header
    for step in steps:
        if isinstance(here, list):
            if int(step) >= len(here):
                raise NotFound("no-such-item", "the sequence has no such item")
            here = here[int(step)]
            continue
        found = {number: value for number, _, value in _elements(here)}
        number = int(step, 16)
        if number not in found:
            raise NotFound("no-such-attribute", "the instance has no such attribute")
        value = found[number]
        if not isinstance(value, list):
            return None
        here = value
    if isinstance(here, list):
        return [str(place) for place in range(len(here))]
    return [_number(number).replace(",", "-") for number, _, _ in _elements(here)]
