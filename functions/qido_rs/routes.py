"""The Search transaction's resources (PS3.18 Table 10.6.1-1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from werkzeug.wrappers import Response

from functions.qido_rs.attributes import Level
from functions.qido_rs.capabilities import searching
from functions.qido_rs.query import parse
from functions.qido_rs.search import Results, search
from pacsless.archive import Archive
from pacsless.negotiation import Representation
from pacsless.postgres import Database
from pacsless.representations import ATTRIBUTES, native_models
from pacsless.settings import Settings
from pacsless.web import SERIES, STUDY, Request, Route, multipart_response


def _answer(
    request: Request,
    level: Level,
    study: str = "",
    series: str = "",
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
) -> Response:
    chosen = request.accepted(ATTRIBUTES)
    query = parse(level, request.http.args.items(multi=True), study, series)
    found = search(
        query,
        request.tenant,
        request.base_url,
        archive=archive,
        database=database,
        settings=settings,
    )
    response = _native_models(found) if chosen.multipart else _json(found, chosen)
    response.headers["Cache-Control"] = "no-store"
    for warning in found.warnings:
        response.headers.add("Warning", request.warning(warning))
    return response


def _json(found: Results, chosen: Representation) -> Response:
    # 200 and an empty array for no match: the 2026 editions of PS3.18 replace
    # 204 by it (Table 11.9.3-1), and clients that know only 204 read it as well.
    return Response(b"[%b]" % b",".join(found.matches), content_type=chosen.content_type)


def _native_models(found: Results) -> Response:
    if not found.matches:
        return Response(None, 204)  # a body of no parts is none (RFC 2046 §5.1.1)
    return multipart_response(native_models(found.matches))


def search_studies(
    request: Request, *, archive: Archive, database: Database, settings: Settings
) -> Response:
    """All Studies."""
    return _answer(request, Level.STUDIES, archive=archive, database=database, settings=settings)


def search_series(
    request: Request,
    study: str = "",
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
) -> Response:
    """All Series, or a study's."""
    return _answer(
        request, Level.SERIES, study, archive=archive, database=database, settings=settings
    )


def search_instances(
    request: Request,
    study: str = "",
    series: str = "",
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
) -> Response:
    """All Instances, a study's, or a series'."""
    return _answer(
        request,
        Level.INSTANCES,
        study,
        series,
        archive=archive,
        database=database,
        settings=settings,
    )


_CLAUSE: Final = "PS3.18 §10.6"


def _search(rule: str, handler: Callable[..., Response], summary: str, level: Level) -> Route:
    return Route("GET", rule, handler, _CLAUSE, searching(summary, level))


ROUTES: Final = (
    _search("/studies", search_studies, "Search for Studies", Level.STUDIES),
    _search("/series", search_series, "Search for Series", Level.SERIES),
    _search("/instances", search_instances, "Search for Instances", Level.INSTANCES),
    _search(f"{STUDY}/series", search_series, "Search for Study Series", Level.SERIES),
    _search(
        f"{STUDY}/instances",
        search_instances,
        "Search for Study Instances",
        Level.INSTANCES,
    ),
    _search(
        f"{SERIES}/instances",
        search_instances,
        "Search for Study Series Instances",
        Level.INSTANCES,
    ),
)
