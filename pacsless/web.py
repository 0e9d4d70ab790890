"""Functions on HTTP requests: a table of DICOMweb routes, and serving files.

::

    ROUTES = [
        Route("GET", "/studies/<uid:study>/series/<uid:series>/instances/<uid:sop>",
              retrieve_instance, "PS3.18 §10.4.1.1.3"),
    ]
    wado_rs = serves("wado_rs", ROUTES)

A handler is called with the `Request`, the route's variables by name and the
resources it asks for as keyword-only parameters by annotation::

    def retrieve_instance(request: Request, study: str, series: str, sop: str,
                          *, archive: Archive) -> Response:
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import flask
from werkzeug.wrappers import Response

from pacsless.archive import Archive

TENANT_HEADER: Final = "X-Pacsless-Tenant"
ROOT_HEADER: Final = "X-Pacsless-Root"
ACCEL_HEADER: Final = "X-Pacsless-Accel"
ROUTE_HEADER: Final = "X-Pacsless-Route"


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
    """Where it is specified: ``PS3.18 §10.4.1.1.3``."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of one tenant."""

    tenant: str
    """Validated tenant, from nginx, which knows it from the path or the token."""
    root: str
    """Path clients find this tenant's DICOMweb at, without a trailing slash."""
    http: flask.Request
    """The request itself: ``args``, ``headers``, ``method``, ``environ``."""

    @property
    def base_url(self) -> str:
        """Absolute URL of the root as the client sees it (RetrieveURL, BulkDataURI)."""
        raise NotImplementedError

    @property
    def accelerated(self) -> bool:
        """Whether nginx stands in front and takes X-Accel-Redirect."""
        return self.http.headers.get(ACCEL_HEADER) == "1"


def serves(
    name: str, routes: Sequence[Route]
) -> Callable[[flask.Request], Response]:
    """Make an HTTP function of functions-framework from a route table.

    Parameters
    ----------
    name
        The function's name: its target, and its label in metrics.
    routes
        What it answers; anything else is 404, another method 405.
    """
    raise NotImplementedError


def plain(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with one sentence of text/plain (PS3.18 §8.5 leaves the body open)."""
    raise NotImplementedError


def accel(
    request: Request,
    archive: Archive,
    key: str,
    content_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a file of the archive, byte for byte.

    Behind nginx the answer is a redirect to ``/internal/archive/<key>``, and nginx
    sends the bytes; else they are streamed from here. Both honour Range.

    Raises
    ------
    NotFound
        If there is no such file.
    """
    raise NotImplementedError
