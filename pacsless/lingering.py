"""Answering a request whose body was not read, so that its sender sees the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

_LINGER_SECONDS: Final = 30.0
_LINGER_BYTES: Final = 64 << 10


def lingering(request: flask.Request, response: Response) -> Response:
    """Answer before the request's body is read, if it was not, and then read past the rest.

    Closing the connection at once would reset it, and whoever still sends would
    not see the answer (RFC 9112 §9.6). And functions-framework reads what is left
    before any other response than a streamed one, all of it into memory.
    """
    if not response.is_streamed:
        answer = b"".join(response.iter_encoded())

        def linger() -> Iterator[bytes]:
            yield answer
            until = time.monotonic() + _LINGER_SECONDS
            # Who has its answer closes the connection.
            with suppress(OSError, HTTPException):
                while request.stream.read(_LINGER_BYTES) and time.monotonic() < until:
                    pass

        response.response = linger()
        response.headers["Content-Length"] = str(len(answer))
    return response
