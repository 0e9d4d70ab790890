"""How a request gets to an HTTP function, and its answer to the server: past Flask.

What functions-framework does around a function takes longer than most answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final

import flask
from werkzeug.wrappers import Response

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

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = function(flask.Request(environ))
        if response.is_streamed:
            return _told(response(environ, start_response))
        if response.status_code != 200 or environ["REQUEST_METHOD"] != "GET":
            # werkzeug knows which of them have a body and a length.
            with closing(response(environ, start_response)) as body:  # type: ignore[type-var]
                return [b"".join(body)]
        # granian takes a list as it is, and asks for the chunks of anything else one by one.
        whole = response.get_data()
        response.headers["Content-Length"] = str(len(whole))
        start_response(response.status, response.headers.to_wsgi_list())
        response.close()
        return [whole]

    application.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _told(body: Iterable[bytes]) -> Iterator[bytes]:
    """Say what went wrong after an answer had begun; a server would quote it, and so data."""
    with closing(body):  # type: ignore[type-var]
        try:
            yield from body
        except Exception:
            _logger.exception("an answer was cut off")
            raise
