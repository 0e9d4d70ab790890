"""Orthanc's addresses, and who answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from werkzeug.wrappers import Response

from functions.orthanc import answers, tags
from functions.orthanc import capabilities as can
from functions.orthanc.answers import as_array, as_json
from functions.orthanc.index import Holdings
from functions.orthanc.instances import Instance
from functions.orthanc.levels import Level
from pacsless.cache import Cache
from pacsless.capabilities import Capability
from pacsless.web import Request, Route


def _instance(request: Request, resource: str, holdings: Holdings, cache: Cache) -> Instance:
    found = holdings.of(request.tenant).find(Level.INSTANCE, resource)
    return Instance(request, found.identity(request.tenant), holdings.archive, cache)


def retrieve_orthanc_file(
    request: Request, resource: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """Send the file of an instance."""
    return _instance(request, resource, holdings, cache).send_file(resource)


def read_orthanc_tags(
    request: Request, resource: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """Tell all attributes of an instance."""
    header = _instance(request, resource, holdings, cache).header()
    return as_json(tags.written(header, request.http.args))


def read_orthanc_simplified_tags(
    request: Request, resource: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """Tell all attributes of an instance, by name."""
    return as_json(tags.simplified(_instance(request, resource, holdings, cache).header()))


def list_orthanc_content(
    request: Request, resource: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """List the tags of an instance."""
    header = _instance(request, resource, holdings, cache).header()
    return as_json(tags.children(header, []))


def read_orthanc_content(
    request: Request, resource: str, element: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """Send a value, or list what is in a sequence."""
    found = _instance(request, resource, holdings, cache).content(element)
    return found if isinstance(found, Response) else as_json(found)


def list_orthanc_frames(
    request: Request, resource: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """List the numbers of the frames."""
    instance = _instance(request, resource, holdings, cache)
    return as_array(range(instance.number_of_frames()))


def retrieve_orthanc_raw_frame(
    request: Request, resource: str, frame: str, *, holdings: Holdings, cache: Cache
) -> Response:
    """Send a frame as it is stored."""
    return _instance(request, resource, holdings, cache).raw_frame(frame)


def render_orthanc_frame(
    request: Request, resource: str, frame: str = "", *, holdings: Holdings, cache: Cache
) -> Response:
    """Render a frame."""
    return _instance(request, resource, holdings, cache).picture(frame)


_RESOURCE: Final = "/orthanc/<level>/<resource>"
_INSTANCE: Final = "/orthanc/instances/<resource>"
_FRAME: Final = f"{_INSTANCE}/frames/<frame>"


def _get(rule: str, handler: Callable[..., Any], about: Capability) -> Route:
    return Route("GET", rule, handler, "docs/orthanc.md", about)


def _post(tool: str, handler: Callable[..., Any], about: Capability) -> Route:
    rule = f"/orthanc/tools/{tool}"
    return Route("POST", rule, handler, "docs/orthanc.md", about, is_search=True)


ROUTES: Final = (
    _get("/orthanc/system", answers.read_orthanc_system, can.SYSTEM),
    _get("/orthanc/statistics", answers.read_orthanc_statistics, can.STATISTICS),
    _get("/orthanc/changes", answers.read_orthanc_changes, can.CHANGES),
    _post("find", answers.find_orthanc_resources, can.FIND),
    _post("count-resources", answers.count_orthanc_resources, can.COUNT),
    _post("lookup", answers.look_up_orthanc_resources, can.LOOKUP),
    _get("/orthanc/<level>", answers.list_orthanc_resources, can.RESOURCES),
    _get(_RESOURCE, answers.read_orthanc_resource, can.RESOURCE),
    _get(f"{_RESOURCE}/<relative>", answers.read_orthanc_relatives, can.RELATIVES),
    _get(
        f"{_RESOURCE}/statistics",
        answers.read_orthanc_resource_statistics,
        can.RESOURCE_STATISTICS,
    ),
    _get(f"{_RESOURCE}/metadata", answers.list_orthanc_metadata, can.METADATA),
    _get(f"{_RESOURCE}/metadata/<name>", answers.read_orthanc_metadata, can.ONE_METADATA),
    _get(f"{_RESOURCE}/archive", answers.retrieve_orthanc_archive, can.ARCHIVE),
    _get(f"{_INSTANCE}/file", retrieve_orthanc_file, can.FILE),
    _get(f"{_INSTANCE}/tags", read_orthanc_tags, can.TAGS),
    _get(f"{_INSTANCE}/simplified-tags", read_orthanc_simplified_tags, can.SIMPLIFIED_TAGS),
    _get(f"{_INSTANCE}/content", list_orthanc_content, can.CONTENT),
    _get(f"{_INSTANCE}/content/<path:element>", read_orthanc_content, can.ELEMENT),
    _get(f"{_INSTANCE}/frames", list_orthanc_frames, can.FRAMES),
    _get(f"{_INSTANCE}/preview", render_orthanc_frame, can.PREVIEW),
    _get(f"{_INSTANCE}/rendered", render_orthanc_frame, can.RENDERED),
    _get(f"{_FRAME}/raw", retrieve_orthanc_raw_frame, can.RAW_FRAME),
    _get(f"{_FRAME}/preview", render_orthanc_frame, can.FRAME_PREVIEW),
    _get(f"{_FRAME}/rendered", render_orthanc_frame, can.RENDERED_FRAME),
)
