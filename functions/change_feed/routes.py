"""The two resources of the change feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from werkzeug.wrappers import Response

from functions.change_feed.feed import DEFAULT_LIMIT, MOST, Page, entry, parse
from pacsless.archive import Archive
from pacsless.capabilities import Capability, Parameter
from pacsless.changes import Change, latest, read
from pacsless.entries import EntryMemory
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_instances
from pacsless.negotiation import Representation
from pacsless.postgres import Database
from pacsless.settings import Settings
from pacsless.web import Request, Route


def read_change_feed(
    request: Request,
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
    memory: EntryMemory,
) -> Response:
    """Send the changes after a number."""
    page = parse(request.http.args.items(multi=True))
    changes = read(database, request.tenant, page.offset, page.limit)
    entries = _entries(request, page, changes, archive=archive, settings=settings, memory=memory)
    return _json(b"[" + b",\n".join(entries) + b"]")


def read_latest_change(
    request: Request,
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
    memory: EntryMemory,
) -> Response:
    """Send the newest change; 204 if nothing ever happened."""
    page = parse(request.http.args.items(multi=True), latest=True)
    change = latest(database, request.tenant)
    if change is None:
        return Response(status=204, headers=_FRESH)
    (found,) = _entries(request, page, [change], archive=archive, settings=settings, memory=memory)
    return _json(found)


def _entries(
    request: Request,
    page: Page,
    changes: Sequence[Change],
    *,
    archive: Archive,
    settings: Settings,
    memory: EntryMemory,
) -> list[bytes]:
    if not page.include_metadata:
        return [entry(change) for change in changes]
    identities = [
        None
        if one.state == "deleted"
        else InstanceIdentity(
            request.tenant, one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid
        )
        for one in changes
    ]
    metadata = describe_instances(archive, identities, settings, memory)
    return [entry(change, one) for change, one in zip(changes, metadata, strict=True)]


def _json(body: bytes) -> Response:
    return Response(body, 200, _FRESH, content_type="application/json")


_FRESH: Final = {"Cache-Control": "no-store"}
_CLAUSE: Final = "docs/change-feed.md"

_UID: Final = {"type": "string"}
_ENTRY: Final = {
    "type": "object",
    "required": [
        "sequence", "studyInstanceUid", "seriesInstanceUid", "sopInstanceUid", "action",
        "timestamp", "state",
    ],
    "properties": {
        "sequence": {"type": "integer", "minimum": 1},
        "studyInstanceUid": _UID,
        "seriesInstanceUid": _UID,
        "sopInstanceUid": _UID,
        "action": {"enum": ["create", "update", "delete"]},
        "timestamp": {"type": "string", "format": "date-time"},
        "state": {"enum": ["current", "replaced", "deleted"]},
        "metadata": {"$ref": "#/components/schemas/DicomJsonModel"},
    },
}  # fmt: skip
_JSON: Final = (Representation("application/json"),)
_OFFSET: Final = Parameter(
    "offset",
    "The number after which entries start: what the client has seen already.",
    {"type": "integer", "minimum": 0, "default": 0},
)
_LIMIT: Final = Parameter(
    "limit",
    "Entries at most.",
    {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
)
_INCLUDE_METADATA: Final = Parameter(
    "includeMetadata", "Whether entries have metadata.", {"type": "boolean", "default": True}
)

ROUTES: Final = (
    Route(
        "GET",
        "/changefeed",
        read_change_feed,
        _CLAUSE,
        Capability(
            "Read Change Feed",
            _JSON,
            (_OFFSET, _LIMIT, _INCLUDE_METADATA),
            schema={"type": "array", "items": _ENTRY},
        ),
    ),
    Route(
        "GET",
        "/changefeed/latest",
        read_latest_change,
        _CLAUSE,
        Capability("Read Latest Change", _JSON, (_INCLUDE_METADATA,), (204,), _ENTRY),
    ),
)
