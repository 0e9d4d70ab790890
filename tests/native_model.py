"""A reader of the Native DICOM Model for tests: the standard library's parser, back to JSON."""

from __future__ import annotations

from typing import Any, Final
from xml.etree import ElementTree

NAMESPACE: Final = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_INTEGERS: Final = {"IS", "SL", "SS", "SV", "UL", "US", "UV"}
_DECIMALS: Final = {"DS", "FD", "FL"}
# PS3.19 §A.1.6, where the order of components is the schema's.
_CONTENT: Final = {"BulkData", "InlineBinary", "Item", "PersonName", "Value"}


def read(xml: bytes) -> dict[str, Any]:
    """Read a document; blocks of private elements are those of their creators beside them."""
    root = ElementTree.fromstring(xml)
    assert root.tag == f"{NAMESPACE}NativeDicomModel"
    assert root.attrib == {"{http://www.w3.org/XML/1998/namespace}space": "preserve"}
    return data_set(root)


def data_set(element: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    blocks: dict[tuple[str, str], str] = {}
    for one in element:
        assert one.tag == f"{NAMESPACE}DicomAttribute"
        assert set(one.attrib) <= {"tag", "vr", "keyword", "privateCreator"}
        tag, vr, creator = one.attrib["tag"], one.attrib["vr"], one.get("privateCreator")
        value = attribute(one, vr)
        if creator is not None:
            assert "keyword" not in one.attrib
            if tag[4:6] == "00":
                tag = blocks[tag[:4], creator] + tag[6:]
        elif tag[4:6] == "00" and int(tag[:4], 16) & 1 and "Value" in value:
            blocks.setdefault((tag[:4], value["Value"][0]), tag[:4] + tag[6:])
        assert tag not in found, tag
        found[tag] = value
    return found


def attribute(element: ElementTree.Element, vr: str) -> dict[str, Any]:
    kinds = {child.tag.removeprefix(NAMESPACE) for child in element}
    assert kinds <= _CONTENT and len(kinds) <= 1
    assert element.text is None and not any(child.tail for child in element)
    if not kinds:
        return {"vr": vr}
    (kind,) = kinds
    if kind == "BulkData":
        return {"vr": vr, "BulkDataURI": element[0].attrib["uri"]}
    if kind == "InlineBinary":
        return {"vr": vr, "InlineBinary": element[0].text or ""}
    assert (vr == "SQ", vr == "PN") == (kind == "Item", kind == "PersonName")
    assert [child.attrib for child in element] == [
        {"number": str(number)} for number in range(1, len(element) + 1)
    ]
    read_one = {"Item": data_set, "PersonName": person_name}.get(kind)
    return {
        "vr": vr,
        "Value": [read_one(child) if read_one else number_or_text(child, vr) for child in element],
    }


def person_name(element: ElementTree.Element) -> dict[str, str] | None:
    found = {}
    assert in_order([child.tag for child in element], _GROUPS)
    for group in element:
        assert in_order([child.tag for child in group], _COMPONENTS)
        parts = [group.findtext(NAMESPACE + kind) or "" for kind in _COMPONENTS]
        found[group.tag.removeprefix(NAMESPACE)] = "^".join(parts).rstrip("^")
    return found or None


def in_order(tags: list[str], allowed: tuple[str, ...]) -> bool:
    places = [allowed.index(tag.removeprefix(NAMESPACE)) for tag in tags]
    return places == sorted(set(places))


def number_or_text(element: ElementTree.Element, vr: str) -> str | int | float | None:
    text = element.text
    if text is None:
        return None
    for vrs, kind in ((_INTEGERS, int), (_DECIMALS | _INTEGERS, float)):
        if vr in vrs or (kind is int and vr == "DS"):
            try:
                return kind(text)
            except ValueError:
                continue
    return text
