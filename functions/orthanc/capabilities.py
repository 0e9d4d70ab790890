"""What Orthanc's addresses can, for those who ask."""

from __future__ import annotations

from typing import Final

from functions.orthanc.changes import DEFAULT_LIMIT, MOST
from functions.orthanc.instances import PICTURES
from pacsless.capabilities import ACCEPT, Body, Capability, Parameter, Schema
from pacsless.negotiation import DICOM, Representation
from pacsless.rendering.parameters import MAX_SIDE

_JSON: Final = (Representation("application/json"),)
_TEXT: Final = (Representation("text/plain"),)
_OCTETS: Final = (Representation("application/octet-stream"),)
_OBJECT: Final = {"type": "object"}
_ARRAY: Final = {"type": "array"}
_WHOLE: Final = {"type": "integer", "minimum": 0, "default": 0}
_BOOLEAN: Final = {"type": "boolean", "default": False}

_EXPAND: Final = Parameter(
    "expand", "Descriptions and not ids alone; what is below a resource is described anyhow.",
    {"type": "boolean"},
)  # fmt: skip
_SINCE: Final = Parameter("since", "Results to skip; of changes, the number already seen.", _WHOLE)
_LIMIT: Final = Parameter(
    "limit",
    f"Results at most; 0 for all. Of changes {DEFAULT_LIMIT} unless asked for up to {MOST:,}.",
    _WHOLE,
)
_SHORT: Final = Parameter("short", "Tags by number.", _BOOLEAN)
_FULL: Final = Parameter("full", "Tags by number, with name and type.", _BOOLEAN)
_SIMPLIFY: Final = Parameter("simplify", "Tags by name alone.", _BOOLEAN)
_LAST: Final = Parameter("last", "The newest change alone.", _BOOLEAN)
_SIDE: Final = {"type": "integer", "minimum": 0, "maximum": MAX_SIDE}
_RENDERING: Final = (
    Parameter("width", "Pixels the picture fits in, from left to right.", _SIDE),
    Parameter("height", "Pixels the picture fits in, from top to bottom.", _SIDE),
    Parameter("window-center", "With window-width.", {"type": "number"}),
    Parameter("window-width", "With window-center.", {"type": "number", "minimum": 1}),
    Parameter("quality", "Of JPEG.", {"type": "integer", "minimum": 1, "maximum": 100}),
    ACCEPT,
)


def _read(summary: str, schema: Schema, *parameters: Parameter) -> Capability:
    return Capability(summary, _JSON, parameters, (), schema)


def _ask(summary: str, schema: Schema, body: str, kind: tuple[Representation, ...]) -> Capability:
    return Capability(summary, _JSON, (), (413,), schema, Body(body, kind))


def _render(summary: str) -> Capability:
    return Capability(summary, PICTURES, _RENDERING, (406,))


_SEARCH: Final = "Level and Query, and what docs/orthanc.md has besides."

SYSTEM: Final = _read("Read Orthanc System", _OBJECT)
STATISTICS: Final = _read("Read Orthanc Statistics", _OBJECT)
CHANGES: Final = _read("Read Orthanc Changes", _OBJECT, _SINCE, _LIMIT, _LAST)
FIND: Final = _ask("Find Orthanc Resources", _ARRAY, _SEARCH, _JSON)
COUNT: Final = _ask("Count Orthanc Resources", _OBJECT, _SEARCH, _JSON)
LOOKUP: Final = _ask("Look Up Orthanc Resources", _ARRAY, "A Patient ID or UID.", _TEXT)
RESOURCES: Final = _read("List Orthanc Resources", _ARRAY, _SINCE, _LIMIT, _EXPAND, _SHORT, _FULL)
RESOURCE: Final = _read("Read Orthanc Resource", _OBJECT, _SHORT, _FULL)
RELATIVES: Final = _read("Read Orthanc Relatives", {}, _SINCE, _LIMIT, _EXPAND, _SHORT, _FULL)
RESOURCE_STATISTICS: Final = _read("Read Orthanc Resource Statistics", _OBJECT)
METADATA: Final = _read("List Orthanc Metadata", {}, _EXPAND)
ONE_METADATA: Final = Capability("Read Orthanc Metadata", _TEXT)
ARCHIVE: Final = Capability("Retrieve Orthanc Archive", (Representation("application/zip"),))
FILE: Final = Capability("Retrieve Orthanc File", (Representation(DICOM),), (), (206, 304, 416))
TAGS: Final = _read("Read Orthanc Tags", _OBJECT, _SIMPLIFY, _SHORT)
SIMPLIFIED_TAGS: Final = _read("Read Orthanc Simplified Tags", _OBJECT)
CONTENT: Final = _read("List Orthanc Content", _ARRAY)
ELEMENT: Final = Capability("Read Orthanc Content", (*_OCTETS, *_JSON), (), (206, 406, 416))
FRAMES: Final = _read("List Orthanc Frames", _ARRAY)
RAW_FRAME: Final = Capability("Retrieve Orthanc Raw Frame", _OCTETS, (), (206, 406, 416))
PREVIEW: Final = _render("Render Orthanc Preview")
RENDERED: Final = _render("Render Orthanc Instance")
FRAME_PREVIEW: Final = _render("Render Orthanc Frame Preview")
RENDERED_FRAME: Final = _render("Render Orthanc Frame")
