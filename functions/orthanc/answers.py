"""Answers about resources: lists, details, searches, changes, archives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from werkzeug.wrappers import Response

from functions.orthanc import changes, find
from functions.orthanc.archives import zipped
from functions.orthanc.index import EVERYTHING, Holdings, Index, Listing, Resource
from functions.orthanc.levels import Level, signature
from functions.orthanc.resources import Format
from functions.orthanc.sql import Conditions
from pacsless.errors import BadRequest, NotFound
from pacsless.strict_json import dumps
from pacsless.web import Request

API_VERSION: Final = 27
VERSION: Final = "1.12.7"
"""Of the Orthanc whose answers these are like."""
_LONGEST_BODY: Final = 64 << 10
_FRESH: Final = {"Cache-Control": "no-store"}
_JSON: Final = "application/json"


def as_json(value: Any) -> Response:
    """Answer with a value."""
    return Response(dumps(value), 200, _FRESH, content_type=_JSON)


def as_text(text: str) -> Response:
    """Answer with a text."""
    return Response(text, 200, _FRESH, content_type="text/plain; charset=utf-8")


def as_array(values: Iterable[Any]) -> Response:
    """Answer with an array that is read while it is sent."""
    left = iter(values)
    first = list(_few(left))  # what fails at once is no answer that breaks off

    def text() -> Iterator[bytes]:
        divider = b"["
        for value in chain(first, left):
            yield divider + dumps(value)
            divider = b",\n"
        yield b"]" if divider != b"[" else b"[]"

    return Response(text(), 200, _FRESH, content_type=_JSON)


def _few(values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        yield value
        return


def read_orthanc_system(_request: Request, *, holdings: Holdings) -> Response:
    """Say what this is."""
    holdings.check()
    return as_json(
        {
            "ApiVersion": API_VERSION,
            "Capabilities": {"HasExtendedChanges": False, "HasExtendedFind": False},
            "CheckRevisions": False,
            "DatabaseBackendPlugin": None,
            "DatabaseVersion": 6,
            "HasLabels": False,
            "MainDicomTags": {level.kind: signature(level) for level in Level},
            "Name": "Pacsless",
            "OverwriteInstances": False,
            "PluginsEnabled": False,
            "ReadOnly": True,
            "StorageAreaPlugin": None,
            "StorageCompression": False,
            "UserMetadata": {},
            "Version": VERSION,
        }
    )


def read_orthanc_statistics(request: Request, *, holdings: Holdings) -> Response:
    """Count all there is."""
    return as_json(holdings.of(request.tenant).totals())


def read_orthanc_changes(request: Request, *, holdings: Holdings) -> Response:
    """Tell what was stored."""
    index, asked = holdings.of(request.tenant), request.http.args
    if "last" in asked:
        return as_json(changes.last_change(index))
    return as_json(changes.changes(index, _whole(asked, "since"), _whole(asked, "limit")))


def list_orthanc_resources(request: Request, level: str, *, holdings: Holdings) -> Response:
    """List the resources of a level."""
    index, asked = holdings.of(request.tenant), request.http.args
    listing = Listing(
        Level.of_path(level),
        Conditions(request.tenant),
        _whole(asked, "since"),
        _whole(asked, "limit") or EVERYTHING,
        Format.of(_flags(asked)) if _flag(asked, "expand") else None,
    )
    return as_array(index.resources(listing))


def read_orthanc_resource(
    request: Request, level: str, resource: str, *, holdings: Holdings
) -> Response:
    """Describe a resource."""
    index = holdings.of(request.tenant)
    found = index.find(Level.of_path(level), resource)
    return as_json(index.show(found, Format.of(_flags(request.http.args))))


def read_orthanc_relatives(
    request: Request, level: str, resource: str, relative: str, *, holdings: Holdings
) -> Response:
    """Describe what is below a resource, or what it is part of."""
    index, asked = holdings.of(request.tenant), request.http.args
    found = index.find(Level.of_path(level), resource)
    form = Format.of(_flags(asked))
    for other in Level:
        if other.depth > found.level.depth and relative == other.plural:
            shown = form if _flag(asked, "expand", default=True) else None
            limit = _whole(asked, "limit") or EVERYTHING
            conditions = index.below(found, other)
            listing = Listing(other, conditions, _whole(asked, "since"), limit, shown)
            return as_array(index.resources(listing))
        if other.depth < found.level.depth and relative == other.kind.lower():
            return as_json(index.show(found.at(other), form))
    raise NotFound("no-such-resource", "there is no such resource")


def read_orthanc_resource_statistics(
    request: Request, level: str, resource: str, *, holdings: Holdings
) -> Response:
    """Count what is below a resource."""
    index = holdings.of(request.tenant)
    return as_json(index.statistics(index.find(Level.of_path(level), resource)))


def list_orthanc_metadata(
    request: Request, level: str, resource: str, *, holdings: Holdings
) -> Response:
    """Tell what is known of a resource that no tag says."""
    index = holdings.of(request.tenant)
    known = index.metadata(index.find(Level.of_path(level), resource))
    return as_json(known if _flag(request.http.args, "expand") else list(known))


def read_orthanc_metadata(
    request: Request, level: str, resource: str, name: str, *, holdings: Holdings
) -> Response:
    """Tell one thing of these."""
    index = holdings.of(request.tenant)
    known = index.metadata(index.find(Level.of_path(level), resource))
    if name not in known:
        raise NotFound("no-such-metadata", "the resource has no such metadata")
    return as_text(known[name])


def retrieve_orthanc_archive(
    request: Request, level: str, resource: str, *, holdings: Holdings
) -> Response:
    """Send the files of a resource as a ZIP."""
    index = holdings.of(request.tenant)
    found: Resource = index.find(Level.of_path(level), resource)
    if found.level is Level.INSTANCE:
        raise NotFound("no-such-resource", "an instance has no archive: ask for its file")
    headers = {**_FRESH, "Content-Disposition": f'attachment; filename="{found.id}.zip"'}
    made = zipped(holdings.archive, index.files(found))
    return Response(made, 200, headers, content_type="application/zip")


def find_orthanc_resources(request: Request, *, holdings: Holdings) -> Response:
    """Search for resources."""
    index = holdings.of(request.tenant)
    asked = _find(request, index)
    limit = asked.limit or EVERYTHING
    listing = Listing(asked.level, asked.conditions, asked.since, limit, asked.form, searched=True)
    return as_array(index.resources(listing))


def count_orthanc_resources(request: Request, *, holdings: Holdings) -> Response:
    """Count what a search would find."""
    index = holdings.of(request.tenant)
    asked = _find(request, index)
    return as_json({"Count": index.count(asked.level, asked.conditions)})


def _find(request: Request, index: Index) -> find.Find:
    asked = find.parse(_body(request), request.tenant)
    for above, identifier in asked.parents:
        index.within(asked.level, asked.conditions, above, identifier)
    return asked


def look_up_orthanc_resources(request: Request, *, holdings: Holdings) -> Response:
    """Find what has a Patient ID or UID."""
    try:
        name = _body(request).decode().strip(" ")
    except UnicodeDecodeError:
        raise BadRequest("body", "the body is a Patient ID or UID in UTF-8") from None
    if "\0" in name:
        raise BadRequest("body", "the body is a Patient ID or UID, without NUL")
    return as_json(holdings.of(request.tenant).lookup(name))


def _body(request: Request) -> bytes:
    body = request.http.stream.read(_LONGEST_BODY + 1)
    if len(body) > _LONGEST_BODY:
        raise BadRequest("body", f"the body has more than {_LONGEST_BODY >> 10} KiB")
    return bytes(body)


def _flag(asked: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """Whether something is asked for: Orthanc's parameters need no value."""
    if name not in asked:
        return default
    return asked[name].lower() not in ("false", "0")


def _flags(asked: Mapping[str, str]) -> dict[str, object]:
    return {name: _flag(asked, name) for name in ("short", "full")}


def _whole(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest("number", f"{name} is a whole number from 0")
    return int(text)
