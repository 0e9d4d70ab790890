"""How a request gets to an HTTP function, and its answer to the server: past Flask.

What functions-framework does around a function takes longer than most answers.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final

import flask
from werkzeug.wrappers import Response

THREADS: Final = 64
"""Requests at a time, if ``THREADS`` does not say. A thread is with a streamed answer until nginx
has the last byte, so three in four may be: who reads slowly must not take the last one."""

_logger: Final = logging.getLogger(__name__)


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
    threads = int(os.environ.get("THREADS") or THREADS)
    streams = threading.BoundedSemaphore(max(1, threads * 3 // 4))

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            response = function(flask.Request(environ))
            if not response.is_streamed:
                return [_whole(response, environ, start_response)]
            # A thread is with a streamed answer for as long as it is read. Some are left.
            if streams.acquire(blocking=False):
                return _Stream(response(environ, start_response), streams.release)
            response.close()
            return _busy()(environ, start_response)
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


def _busy() -> Response:
    text = "Too many long answers are being read: try again in a moment.\n"
    return Response(text, 503, {"Retry-After": "1"}, content_type="text/plain; charset=utf-8")


class _Stream:
    """The body of an answer that is sent as it is read.

    What goes wrong in it is said here: a server would quote it, and so data. No generator,
    which is not run, and so not closed, if nobody asks for its first chunk.
    """

    def __init__(self, body: Iterable[bytes], done: Callable[[], None]) -> None:
        self._body = body
        self._chunks = iter(body)
        self._done = weakref.finalize(self, done)  # once, whatever comes first

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self._done()
            raise
        except Exception:
            _logger.exception("an answer was cut off")
            raise

    def close(self) -> None:
        """Close the answer, and let another one be streamed."""
        self._done()
        if (close := getattr(self._body, "close", None)) is not None:
            close()
