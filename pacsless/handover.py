"""How a request gets to an HTTP function: past Flask, by a thread that stays with its connection.

What functions-framework and gunicorn do around a function takes three times as long
as most answers. Neither lets anybody choose, so both are told here.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from typing import Any, Final

import flask
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.wrappers import Response

_MILLISECONDS: Final = 5
_handle: Final = ThreadWorker.handle


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
        return function(flask.Request(environ))(environ, start_response)

    application.wsgi_app = wsgi_app  # type: ignore[method-assign]
    ThreadWorker.handle = _handle_all


def _handle_all(worker: Any, connection: Any) -> Any:
    """Handle a request, and the next ones if they come at once.

    nginx keeps its connections to a function and has another request for one a
    millisecond after an answer. gunicorn gives a connection back to its main thread,
    which waits for it with all others and gives it to a thread anew: the interpreter
    is handed over twice, and as often again for each lock between.
    """
    while True:
        # True is a connection that is kept; there is another true value.
        kept = _handle(worker, connection)
        if kept is not True or not worker.alive or _others_wait(worker):
            return kept
        if connection.parser.unreader.buf.getvalue():
            return kept  # a part of the next request is here: gunicorn knows what to do
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        if not poll.poll(_MILLISECONDS):
            return kept


def _others_wait(worker: Any) -> bool:
    """Whether there are more connections with a request than threads."""
    idle = len(worker.keepalived_conns) + len(worker.pending_conns)
    return bool(worker.nr_conns - idle > worker.cfg.threads)
