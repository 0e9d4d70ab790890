"""Structured Reports as text and HTML (PS3.3 §C.17.3), for whoever reads no DICOM.

Every word of a report is its sender's: it is escaped, and the page has neither
script nor style nor link.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Final, NamedTuple

from pacsless.dicom.dataset import Header
from pacsless.negotiation import Representation
from pacsless.rendering.image import items

HTML: Final = "text/html"
TEXT: Final = "text/plain"
REPORTS: Final = (Representation(HTML), Representation(TEXT))
"""What a report is sent as, best first."""

_VALUES: Final = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
    "UIDREF": "UID",
}
_REFERENCES: Final = ("COMPOSITE", "IMAGE", "WAVEFORM")
_HEAD: Final = (
    ("Patient", "PatientName"),
    ("Patient ID", "PatientID"),
    ("Date", "ContentDate"),
    ("Completion", "CompletionFlag"),
    ("Verification", "VerificationFlag"),
)


class _Line(NamedTuple):
    depth: int
    label: str
    value: str


def is_report(header: Header) -> bool:
    """Whether an instance is a Structured Report: its root is a content item (PS3.3 §C.17.3)."""
    return str(header.get("ValueType") or "") == "CONTAINER"


def to_text(header: Header) -> Iterator[str]:
    """Yield the lines of a report as plain text."""
    yield f"{_title(header)}\n\n"
    for label, keyword in _HEAD:
        yield f"{label}: {_told(header, keyword)}\n"
    yield "\n"
    for line in _content(header, 0):
        indented = line.value.replace("\n", "\n" + "  " * (line.depth + 1))
        yield f"{'  ' * line.depth}{line.label}: {indented}".rstrip() + "\n"


def to_html(header: Header) -> Iterator[str]:
    """Yield a report as a page of HTML."""
    title = html.escape(_title(header))
    yield f'<!doctype html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>'
    yield f"\n<body>\n<h1>{title}</h1>\n<dl>\n"
    for label, keyword in _HEAD:
        yield f"<dt>{label}</dt><dd>{html.escape(_told(header, keyword))}</dd>\n"
    yield "</dl>\n"
    depth = -1
    for line in _content(header, 0):
        yield "<ul>\n" * (line.depth - depth) + "</ul>\n" * (depth - line.depth)
        depth = line.depth
        value = html.escape(line.value).replace("\n", "<br>")
        yield f"<li><b>{html.escape(line.label)}</b> {value}</li>\n"
    yield "</ul>\n" * (depth + 1) + "</body></html>\n"


def _content(item: Header, depth: int) -> Iterator[_Line]:
    # As deep as sequences nest, which reading the header has bounded.
    for one in items(item, "ContentSequence"):
        label = _meaning(one, "ConceptNameCodeSequence") or _told(one, "RelationshipType")
        yield _Line(depth, label, _value(one))
        yield from _content(one, depth + 1)


def _value(item: Header) -> str:
    kind = _told(item, "ValueType")
    if kind in _VALUES:
        return _told(item, _VALUES[kind])
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = " ".join(
            f"{_told(one, 'NumericValue')} {_unit(one)}".strip()
            for one in items(item, "MeasuredValueSequence")
        )
        return measured or _meaning(item, "NumericValueQualifierCodeSequence")
    if kind in _REFERENCES:
        return ", ".join(
            f"{kind.lower()} {_told(one, 'ReferencedSOPInstanceUID')}"
            for one in items(item, "ReferencedSOPSequence")
        )
    if kind in ("SCOORD", "SCOORD3D", "TCOORD"):
        return _told(item, "GraphicType" if kind != "TCOORD" else "TemporalRangeType")
    return ""


def _title(header: Header) -> str:
    return _meaning(header, "ConceptNameCodeSequence") or "Structured Report"


def _unit(item: Header) -> str:
    unit = next(iter(items(item, "MeasurementUnitsCodeSequence")), None)
    code = _told(unit, "CodeValue") if unit else ""
    return "" if code == "1" else code  # UCUM for no units


def _meaning(item: Header, keyword: str) -> str:
    found = next(iter(items(item, keyword)), None)
    return _told(found, "CodeMeaning") or _told(found, "CodeValue") if found else ""


def _told(item: Header, keyword: str) -> str:
    value = item.get(keyword)
    if keyword in ("PatientName", "PersonName"):
        return " ".join(str(value or "").replace("^", " ").replace("=", " = ").split())
    return "" if value is None else str(value).replace("\r\n", "\n").replace("\r", "\n").strip()
