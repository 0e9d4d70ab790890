"""What a client can ask the service for: the descriptions beside the routes, and their documents.

A `Route` has a `Capability`; `operations` joins the two, and `openapi` and `wadl`
make a document of all of them. ``python -m pacsless.capabilities schemas/dicomweb``
writes both; nginx sends them, so no function is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pacsless.negotiation import Representation

if TYPE_CHECKING:
    from pacsless.web import Route

Schema = Mapping[str, Any]
"""JSON Schema of a value."""

_VARIABLE: Final = re.compile(r"<(?:[a-z]+:)?([a-z]+)>")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, or a variable of a path."""

    name: str
    description: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Body:
    """What the body of a request is."""

    description: str
    representations: tuple[Representation, ...]
    """What it may be sent as."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a route does, for those who call it."""

    summary: str
    """The transaction on its resource, as PS3.18 Table H-1 names it: ``Retrieve Study``."""
    representations: tuple[Representation, ...]
    """What it is sent as, best first; none if nothing ever is."""
    parameters: tuple[Parameter, ...] = ()
    """What the query component may have."""
    statuses: tuple[int, ...] = ()
    """Of the answer, beside 200 and those any request may get."""
    schema: Schema | None = None
    """Of the representations that are JSON."""
    body: Body | None = None
    """Of the request, if it has one."""

    @property
    def succeeded(self) -> list[int]:
        """Statuses of success: 200, if there is something to send, and those stated."""
        sent = {200} if self.representations else set()
        return sorted(sent | {status for status in self.statuses if status < 300})

    @property
    def id(self) -> str:
        """The summary as one word: ``RetrieveStudy``."""
        return "".join(word[0].upper() + word[1:] for word in self.summary.split())


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a resource: a route with its capability."""

    function: str
    """Who answers: a function, or ``nginx``."""
    method: str
    path: str
    """Below the DICOMweb root, as a URI template."""
    variables: tuple[Parameter, ...]
    """Of the path, in order."""
    clause: str
    capability: Capability


_UID: Final = {"type": "string", "pattern": "^[0-9.]{1,64}$"}

# The names that routes have, and those of PS3.18's templates.
VARIABLES: Final = {
    "study": Parameter("study", "Study Instance UID.", _UID),
    "series": Parameter("series", "Series Instance UID.", _UID),
    "sop": Parameter("instance", "SOP Instance UID.", _UID),
    "frames": Parameter(
        "frames",
        "Numbers of frames from 1, with commas between them.",
        {"type": "string", "pattern": "^[0-9]+(,[0-9]+)*$"},
    ),
    "path": Parameter(
        "attribute",
        "Tag of the attribute. That of an item is tag/item/tag, as its BulkDataURI has it.",
        {"type": "string", "pattern": "^[0-9A-Fa-f]{8}(/[0-9]+/[0-9A-Fa-f]{8})*$"},
    ),
    # Of Orthanc's addresses: docs/orthanc.md.
    "level": Parameter(
        "level",
        "A kind of resources.",
        {"type": "string", "enum": ["patients", "studies", "series", "instances"]},
    ),
    "resource": Parameter(
        "resource",
        "SHA-1 of Patient ID and UIDs, in five groups.",
        {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{8}){4}$"},
    ),
    "relative": Parameter(
        "relative",
        "What is below the resource, or what it is part of.",
        {"type": "string", "enum": ["patient", "study", "studies", "series", "instances"]},
    ),
    "name": Parameter("name", "Name of a metadata.", {"type": "string"}),
    "frame": Parameter("frame", "Number of a frame, from 0.", {"type": "integer", "minimum": 0}),
    "element": Parameter(
        "element",
        "Tag or keyword of an attribute. That of an item is tag/item/tag.",
        {"type": "string"},
    ),
}
"""Every variable of a path, by its name in routes."""

ACCEPT: Final = Parameter(
    "accept",
    "Instead of the header field Accept, for links (PS3.18 §8.3.3.1).",
    {"type": "string"},
)
ANNOTATION: Final = Parameter(
    "annotation",
    "What is burned into pictures: patient, technique, or both with a comma between them.",
    {"type": "string", "examples": ["patient,technique"]},
)
DICOM_JSON: Final = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/DicomJsonModel"},
}
"""An array of DICOM JSON Model Objects (PS3.18 §F.2)."""

STATUSES: Final = {
    200: "What was asked for; of a store request, that all is stored.",
    202: "Some instances are stored; the answer says which are not, and why.",
    204: "There is nothing to send; of a request to delete, all is deleted.",
    206: "The range that was asked for.",
    304: "What the client has is current.",
    400: "The request is malformed; the sentence says what is.",
    401: "Where OAuth2 is on: there is no access token, or it is not good (any more).",
    403: "Where OAuth2 is on: the access token does not allow it.",
    404: "There is no such resource.",
    405: "Nothing can be deleted here: that is an option, which is off.",
    406: "It cannot be sent as what Accept names; the sentence says as what it can.",
    408: "The request took too long to arrive.",
    409: "No instance is stored; the answer says why.",
    413: "More is sent than is taken, or asked for than is answered; the sentence says what.",
    414: "The address is too long.",
    415: "The body of the request is of a type that is not taken.",
    416: "The range begins after the end.",
    500: "The archive could not answer; its log says why.",
    503: "This part of the archive is not available now; Retry-After says when to try again.",
    504: "The archive did not answer in time.",
}
"""Every status a described operation is answered with; from 400 on, by a sentence of text/plain."""
ANY_REQUEST: Final = (400, 401, 403, 404, 414, 500, 503, 504)
"""Those that any request may get."""

WADL: Final = Representation("application/vnd.sun.wadl+xml")
OPENAPI: Final = Representation("application/vnd.oai.openapi+json")
_JSON: Final = Representation("application/json")
_DOCUMENT: Final = {"type": "object"}

OF_NGINX: Final = (
    Operation(
        "nginx",
        "OPTIONS",
        "/",
        (),
        "PS3.18 §8.9",
        Capability("Retrieve Capabilities", (WADL, _JSON), (), (406,), _DOCUMENT),
    ),
    Operation(
        "nginx",
        "GET",
        "/openapi.json",
        (),
        "OpenAPI 3.1",
        Capability("Retrieve OpenAPI Document", (_JSON, OPENAPI), (), (304,), _DOCUMENT),
    ),
)
"""What no function answers: the two documents."""


def operations(function: str, routes: Iterable[Route]) -> Iterator[Operation]:
    """Join the routes of a function with what they can."""
    for route in routes:
        if route.capability is None:
            continue
        variables = tuple(VARIABLES[name] for name in _VARIABLE.findall(route.rule))
        path = _VARIABLE.sub(lambda found: f"{{{VARIABLES[found[1]].name}}}", route.rule)
        for method in route.methods.split():
            yield Operation(function, method, path, variables, route.clause, route.capability)
