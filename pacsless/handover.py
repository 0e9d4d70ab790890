"""How a request gets to an HTTP function, and its answer to the server: past Flask.

What functions-framework does around a function takes longer than most answers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final

import flask
from werkzeug.wrappers import Response

_THREADS: Final = 64

_logger: Final = logging.getLogger(__name__)


def threads() -> int:
    """How many requests at a time a process takes: ``THREADS``, or 64.

    A thread is with a streamed answer until nginx has its last byte, so there are more
    than could work at a time.
    """
    return int(os.environ.get("THREADS") or _THREADS)


def hand_over(application: flask.Flask, function: Callable[[flask.Request], Response]) -> None:
    """Have requests come to a function the short way.

    Parameters
    ----------
    application
        functions-framework's, whose routes, error handlers and hooks are not used:
        the function has its own.
    function
        Answers everything.
    """

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            response = function(flask.Request(environ))
            if response.is_streamed:
                return _Stream(response(environ, start_response))
            return [_whole(response, environ, start_response)]
        except Exception:
            _logger.exception("request failed")  # a server would quote it
            raise

    application.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _whole(response: Response, environ: dict[str, Any], start_response: Any) -> bytes:
    if response.status_code != 200 or environ["REQUEST_METHOD"] != "GET":
        # werkzeug knows which of them have a body and a length.
        with closing(response(environ, start_response)) as body:  # type: ignore[type-var]
            return b"".join(body)
    # granian takes a list as it is, and asks for the chunks of anything else one by one.
    whole = response.get_data()
    response.headers["Content-Length"] = str(len(whole))
    start_response(response.status, response.headers.to_wsgi_list())
    response.close()
    return whole


class _Stream:
    """The body of an answer that is sent as it is read.

    What goes wrong in it is said here: a server would quote it, and so data. No generator,
    which is not run, and so not closed, if nobody asks for its first chunk.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except Exception:
            _logger.exception("an answer was cut off")
            raise

    def close(self) -> None:
        """Close the answer."""
        if (close := getattr(self._body, "close", None)) is not None:
            close()
