"""What a request to store says of its body and of who sends it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from werkzeug.wrappers import Response

from functions.stow_rs.body import Inflated, Readable
from pacsless.storage import Sender
from pacsless.web import Request, plain

_IDENTITY: Final = "identity"
_ENCODINGS: Final = frozenset({_IDENTITY, "gzip", "x-gzip", "deflate"})


def _encoding(request: Request) -> str:
    return request.http.headers.get("Content-Encoding", _IDENTITY).strip().lower()


def not_decoded(request: Request) -> Response | None:
    """Refuse a body that is encoded in a way that is not known here."""
    if _encoding(request) in _ENCODINGS:
        return None
    accepted = {"Accept-Encoding": "gzip, deflate"}
    return plain(415, "The body may be encoded as gzip or deflate, no other way.", accepted)


def decoded(request: Request, body: Readable) -> Readable:
    """Return the body as it was before it was encoded."""
    return body if _encoding(request) == _IDENTITY else Inflated(body)


def remote_address(request: Request) -> str:
    """Who sends; past nginx the header may say anything, and it is kept in events."""
    for address in (request.http.headers.get("X-Forwarded-For"), request.http.remote_addr):
        with suppress(ValueError):
            return str(ip_address(address or ""))
    return ""


def sender_of(request: Request) -> Sender:
    """Return who sends."""
    return Sender(request.tenant, "", "", remote_address(request))
