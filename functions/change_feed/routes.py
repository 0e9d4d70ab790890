"""The two resources of the change feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from werkzeug.wrappers import Response

from functions.change_feed.changes import described, latest, read
from functions.change_feed.feed import Change, Page, entry, parse
from pacsless.archive import Archive
from pacsless.entries import EntryMemory
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
    metadata = described(request.tenant, changes, archive, settings, memory)
    return [entry(change, one) for change, one in zip(changes, metadata, strict=True)]


def _json(body: bytes) -> Response:
    return Response(body, 200, _FRESH, content_type="application/json")


_FRESH: Final = {"Cache-Control": "no-store"}
_CLAUSE: Final = "docs/change-feed.md"

ROUTES: Final = (
    Route("GET", "/changefeed", read_change_feed, _CLAUSE),
    Route("GET", "/changefeed/latest", read_latest_change, _CLAUSE),
)
