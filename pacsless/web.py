"""Functions on HTTP requests: a table of DICOMweb routes, and serving files.

::

    ROUTES = [
        Route("GET", "/studies/<uid:study>/series/<uid:series>/instances/<uid:sop>",
              retrieve_instance, "PS3.18 §10.4.1.1.1",
              Capability("Retrieve Instance", (Representation("application/dicom"),))),
    ]
    wado_rs = serves("wado_rs", ROUTES)

A handler is called with the `Request`, the route's variables by name and the
resources it asks for as keyword-only parameters by annotation::

    def retrieve_instance(request: Request, study: str, series: str, sop: str,
                          *, archive: Archive) -> Response:
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import flask
import functions_framework
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule
from werkzeug.wrappers import Response

from pacsless import metrics, resources, worker
from pacsless.capabilities import Capability
from pacsless.errors import BadRequest, PacslessError, Unavailable
from pacsless.handover import hand_over, threads
from pacsless.identity import valid_tenant, valid_uid
from pacsless.lingering import lingering
from pacsless.multipart import Multipart
from pacsless.negotiation import Representation, choose
from pacsless.oauth2.claims import Refused, challenge
from pacsless.settings import Settings

TENANT_HEADER: Final = "X-Pacsless-Tenant"
ROOT_HEADER: Final = "X-Pacsless-Root"
ACCEL_HEADER: Final = "X-Pacsless-Accel"
ROUTE_HEADER: Final = "X-Pacsless-Route"
USER_HEADER: Final = "X-Pacsless-User"

STUDY: Final = "/studies/<uid:study>"
SERIES: Final = f"{STUDY}/series/<uid:series>"
INSTANCE: Final = f"{SERIES}/instances/<uid:sop>"
FRAMES: Final = f"{INSTANCE}/frames/<frames>"
"""Rules of the resources that have one."""

_AT_ONCE: Final = 1 << 20
"""Bytes of an answer that is put together before it is sent. Each chunk is handed from thread to
thread, which costs more than copying a frame; and what cannot be read is refused properly."""
_BODYLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One transaction on one resource."""

    methods: str
    """``"GET"`` (which includes HEAD), or several: ``"GET POST"``."""
    rule: str
    """Path below the DICOMweb root, as werkzeug writes it; ``<uid:study>`` takes a UID
    and answers 400 for anything else."""
    handler: Callable[..., Response]
    clause: str
    """Where it is specified: ``PS3.18 §10.4.1.1.1``."""
    # Not of its hash, which werkzeug wants: it holds JSON Schemas.
    capability: Capability | None = field(default=None, hash=False)
    """What it can, for the documents clients read; None where no client calls, as of a timer."""
    is_search: bool = False
    """Whether POST is to carry a search in its body, and nothing changes: the scope to
    read allows it."""

    @property
    def name(self) -> str:
        """The transaction and its resource, as logs and metrics call it."""
        return self.handler.__name__


@dataclass(frozen=True, slots=True)
class Request:
    """A request of one tenant."""

    tenant: str
    """Validated tenant: the verified token's; where none is asked for, the one nginx reads from
    the path."""
    root: str
    """Path clients find this tenant's DICOMweb at, without a trailing slash."""
    http: flask.Request
    """The request itself: ``args``, ``headers``, ``method``, ``environ``."""
    user: str = ""
    """Who asks, as the verified token says; empty where none is asked for."""

    @property
    def base_url(self) -> str:
        """Absolute URL of the root as the client sees it (RetrieveURL, BulkDataURI)."""
        scheme, host = _called(self.http)
        return f"{scheme}://{host}{self.root}"

    def accepted(self, offers: Sequence[Representation]) -> Representation:
        """Choose by the Accept header and the ``accept`` parameter.

        Parameters
        ----------
        offers
            What the answer can be sent as, best first.

        Raises
        ------
        NotAcceptable
            If nothing offered is accepted.
        """
        return choose(self.http.headers.get("Accept"), offers, self.http.args.get("accept"))

    def warning(self, text: str) -> str:
        """Return a Warning header field (PS3.18 §8.3.5.1) that says `text`."""
        return f"299 {self.base_url}: {text}"

    @property
    def accelerated(self) -> bool:
        """Whether nginx stands in front and takes X-Accel-Redirect."""
        return self.http.headers.get(ACCEL_HEADER) == "1"


class _UidConverter(BaseConverter):
    """Takes any segment, so that what is no UID is told so (400) and not 404."""

    def to_python(self, value: str) -> str:
        return valid_uid(value, "the path")


def serves(name: str, routes: Sequence[Route]) -> Callable[[flask.Request], Response]:
    """Make an HTTP function of functions-framework from a route table.

    Parameters
    ----------
    name
        The function's name: its target, and its label in metrics.
    routes
        What it answers; anything else is 404, another method 405.
    """
    needs = {id(route.handler): _needs(route.handler) for route in routes}
    kinds = {kind for one in needs.values() for kind in one.values()}
    searches = {
        (method, one.rule) for one in routes if one.is_search for method in one.methods.split()
    }
    table = Map(
        [Rule(one.rule, endpoint=one, methods=one.methods.split()) for one in routes],
        converters={"uid": _UidConverter},
        strict_slashes=False,
        merge_slashes=False,
    ).bind("")

    # A thread is with a streamed answer for as long as it is read: some are left for others.
    streams = threading.BoundedSemaphore(max(1, threads() * 3 // 4))

    def function(request: flask.Request) -> Response:
        told = worker.start(name, request.environ) or worker.operations(request.path, kinds)
        if told is not None:
            return told
        began = time.perf_counter()
        route = ""
        try:
            path = request.path.removeprefix(_root(request)) or "/"
            asked = _request(request, searches=(request.method, path) in searches)
            found, variables = table.match(path, request.method)
            route = found.name
            given = {key: resources.get(kind) for key, kind in needs[id(found.handler)].items()}
            response = found.handler(asked, **variables, **given)
            if request.method == "GET" and response.is_streamed:
                _gather_or_stream(response, streams)
        except (RequestRedirect, HTTPException, PacslessError) as error:
            response = _refusal(error)
            if isinstance(error, Refused):
                called = (*_called(request), _root(request))
                response.headers["WWW-Authenticate"] = challenge(error, *called)
        except Exception:
            _logger.exception("request failed", extra={"fields": {"route": route}})
            response = plain(500, "Something went wrong here; the server's log says what.")
        metrics.answered(name, route, response.status_code, time.perf_counter() - began)
        response.headers[ROUTE_HEADER] = route
        return response if request.method in _BODYLESS else lingering(request, response)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"HTTP function {name}."
    functions_framework.http(function)
    if flask.has_app_context():
        hand_over(flask.current_app, function)
    return function


def _gather_or_stream(response: Response, streams: threading.BoundedSemaphore) -> None:
    """Put a short answer together; let a long one be read if not too many are.

    Raises
    ------
    Unavailable
        If too many are.
    """
    length = response.content_length
    try:
        if length is not None and length <= _AT_ONCE:
            response.response = [b"".join(response.response)]  # type: ignore[arg-type]
        elif not streams.acquire(blocking=False):
            raise Unavailable("busy", "too many long answers are being read: try again in a moment")
        else:
            # Once, when it is closed; or when it is forgotten, which a server does not.
            response.call_on_close(weakref.finalize(response, streams.release))
    except BaseException:
        response.close()
        raise


def _needs(handler: Callable[..., Response]) -> dict[str, Any]:
    positional = [
        one
        for one in inspect.signature(handler).parameters.values()
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    return resources.needs(handler, after=len(positional))


def _request(request: flask.Request, *, searches: bool) -> Request:
    settings: Settings = resources.get(Settings)
    named = request.headers.get(TENANT_HEADER)
    if named == "":
        # nginx leaves a header out that has no value; granian empties one that is not ASCII.
        raise BadRequest("tenant", "the tenant's name is empty")
    root = _root(request)
    if not settings.oauth2_issuer:
        return Request(valid_tenant(named or settings.tenant), root, request)
    # PyJWT and cryptography are a twentieth of a second of a cold start.
    from pacsless.oauth2.tokens import AccessTokens

    tokens: AccessTokens = resources.get(AccessTokens)
    method = "GET" if searches else request.method
    access = tokens.access(request.headers.get("Authorization"), method, named)
    return Request(access.tenant, root, request, access.user)


def _root(request: flask.Request) -> str:
    settings: Settings = resources.get(Settings)
    return (request.headers.get(ROOT_HEADER) or settings.dicomweb_root).rstrip("/")


def _called(request: flask.Request) -> tuple[str, str]:
    """Scheme and host the client has used."""
    headers = request.headers
    return (
        headers.get("X-Forwarded-Proto", request.scheme),
        headers.get("X-Forwarded-Host", request.host),
    )


def _refusal(error: RequestRedirect | HTTPException | PacslessError) -> Response:
    match error:
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            return plain(405, "The resource does not take this method.", {"Allow": allowed})
        case RequestRedirect():
            return plain(404, "There is no such resource.")
        case HTTPException():
            status = error.code or 500
            sentence = "There is no such resource." if status == 404 else f"{error.name}."
            return plain(status, sentence)
        case PacslessError():
            # 422 is an event's fate; to a client an object that cannot be read
            # is a fault of the server.
            status = 500 if error.status == 422 else error.status.value
            if status >= 500:
                _logger.warning("request not served", exc_info=error)
            sentence = error.message[:1].upper() + error.message[1:].rstrip(".") + "."
            return plain(status, sentence, {"Retry-After": "1"} if status == 503 else None)


def plain(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with one sentence of text/plain (PS3.18 §8.5 leaves the body open)."""
    return Response(sentence + "\n", status, headers, content_type="text/plain; charset=utf-8")


def multipart_response(body: Multipart, headers: Mapping[str, str] | None = None) -> Response:
    """Stream a multipart body."""
    response = Response(iter(body), 200, headers, content_type=body.content_type)
    if body.content_length is not None:
        response.content_length = body.content_length
    return response
