"""The DICOM JSON Model (PS3.18 Annex F), read from the Native DICOM Model (PS3.19 §A.1)."""

from __future__ import annotations

from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from pydicom.datadict import tag_for_keyword

from pacsless.dicom.scan import ScanError
from pacsless.dicom.values import NAME_COMPONENTS, NAME_GROUPS

_WHOLE: Final = frozenset({"SL", "SS", "SV", "UL", "US", "UV", "IS"})
_REAL: Final = frozenset({"FL", "FD", "DS"})
_TEXT: Final = frozenset({"DS", "IS"})
"""Numbers that are written as text, and so may be none."""
_DEEPEST: Final = 64
_MOST_MISSING: Final = 16
"""Values of an attribute that are not written out: empty ones may be left out."""


def from_native_model(document: bytes) -> dict[str, Any]:
    """Read one instance.

    Parameters
    ----------
    document
        An XML document.

    Returns
    -------
    dict
        A DICOM JSON Model Object.

    Raises
    ------
    ScanError
        If it is not the Native DICOM Model. The message holds no value.

    Examples
    --------
    >>> from_native_model(
    ...     b'<NativeDicomModel><DicomAttribute tag="00080060" vr="CS" keyword="Modality">'
    ...     b'<Value number="1">CT</Value></DicomAttribute></NativeDicomModel>'
    ... )
    {'00080060': {'vr': 'CS', 'Value': ['CT']}}
    """
    # Nothing is expanded or fetched: entities need a document type declaration.
    parser = XMLParser(target=_Builder())  # noqa: S314
    try:
        parser.feed(document)
        root = parser.close()
    except (ParseError, ValueError, LookupError):
        raise ScanError("xml", "the attributes are not well-formed XML") from None
    if _name(root) != "NativeDicomModel":
        raise ScanError("xml", "the XML is not the Native DICOM Model (PS3.19 §A.1)")
    return _data_set(root, 0)


class _Builder(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse one: all it could do is define entities."""
        raise ScanError("xml", "the XML has a document type declaration")


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _data_set(parent: Element, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise ScanError("depth", f"sequences are nested deeper than {_DEEPEST}")
    found: dict[str, Any] = {}
    creators: dict[str, dict[str, str]] = {}
    """Of each private group, by block."""
    for one in parent:
        if _name(one) != "DicomAttribute":
            raise ScanError("xml", "there is an element other than DicomAttribute")
        tag, vr = one.get("tag", "").upper(), one.get("vr", "")
        if not tag and (keyword := one.get("keyword")):
            tag = f"{tag_for_keyword(keyword) or 0:08X}"
        creator = one.get("privateCreator")
        if creator is not None and tag[4:6] == "00":
            group = tag[:4]
            block = _block(creators.setdefault(group, {}), creator)
            found.setdefault(f"{group}00{block}", {"vr": "LO", "Value": [creator]})
            tag = f"{group}{block}{tag[6:]}"
        if len(tag) != 8 or len(vr) != 2 or tag == "00000000":
            raise ScanError("xml", "an attribute has no tag or no VR")
        found[tag] = _attribute(one, vr, depth)
        if tag[4:6] == "00" and tag[6:] >= "10":
            creators.setdefault(tag[:4], {})[tag[6:]] = _creator(found[tag])
    return dict(sorted(found.items()))


def _block(creators: dict[str, str], creator: str) -> str:
    """Return the block of a private creator, a free one if it has none (PS3.5 §7.8.1)."""
    for block, known in creators.items():
        if known == creator:
            return block
    for number in range(0x10, 0x100):
        if (block := f"{number:02X}") not in creators:
            creators[block] = creator
            return block
    raise ScanError("xml", "a group has more private creators than it has room for")


def _creator(attribute: dict[str, Any]) -> str:
    values = attribute.get("Value") or [None]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def _attribute(one: Element, vr: str, depth: int) -> dict[str, Any]:
    values: dict[int, Any] = {}
    for number, child in enumerate(one, 1):
        match _name(child):
            case "BulkData":
                return {"vr": vr, "BulkDataURI": child.get("uri") or child.get("uuid") or ""}
            case "InlineBinary":
                return {"vr": vr, "InlineBinary": "".join((child.text or "").split())}
            case "Item":
                values[_number(child, number)] = _data_set(child, depth + 1)
            case "PersonName":
                values[_number(child, number)] = _person_name(child)
            case "Value":
                values[_number(child, number)] = _value(child.text or "", vr)
            case _:
                raise ScanError("xml", "an attribute has a value of an unknown kind")
    if not values:
        return {"vr": vr}
    return {"vr": vr, "Value": [values.get(index) for index in range(1, max(values) + 1)]}


def _number(child: Element, otherwise: int) -> int:
    text = child.get("number", str(otherwise))
    number = int(text) if text.isdecimal() and len(text) < 9 else 0
    if not 1 <= number <= otherwise + _MOST_MISSING:
        raise ScanError("xml", "a value has a number that cannot be")
    return number


def _value(text: str, vr: str) -> str | int | float | None:
    if vr not in _WHOLE | _REAL:
        return text or None
    if not text.strip():
        return None
    try:
        return int(text) if vr in _WHOLE else float(text)
    except ValueError:
        if vr in _TEXT:
            return text
        raise ScanError("xml", f"a value of VR {vr} is no number") from None


def _person_name(one: Element) -> dict[str, str] | None:
    name: dict[str, str] = {}
    for group in one:
        if _name(group) in NAME_GROUPS:
            parts = {_name(part): part.text or "" for part in group}
            text = "^".join(parts.get(component, "") for component in NAME_COMPONENTS)
            name[_name(group)] = text.rstrip("^")
    return name or None
