"""An HTTP function's server: functions-framework makes the application, granian serves it.

granian reads and writes HTTP outside of the interpreter: an instance by WADO-RS costs half
of what it costs under gunicorn, which functions-framework would start (DECISIONS.md 94).
"""

from __future__ import annotations

import os
from typing import Any, Final

import functions_framework
from granian import Granian
from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.log import LogLevels

from pacsless.serve import end_with

THREADS: Final = 64
"""Requests at a time. A thread is with its answer until nginx has the last byte: who reads
slowly must not take the last one."""

_STOP_SECONDS: Final = 30


def main() -> None:
    """Serve the function that ``FUNCTION_TARGET`` and ``FUNCTION_SOURCE`` name.

    ``HOST``, ``PORT`` and ``THREADS`` say where and how many requests at a time, as for
    functions-framework. Requests in hand are answered after SIGTERM.
    """
    Granian(
        f"{__name__}:application",
        factory=True,
        address=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 -- a pod's own address
        port=int(os.environ.get("PORT", "8080")),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        # One thread for the network: it does so little that a second one is only in its way.
        runtime_mode=RuntimeModes.st,
        blocking_threads=int(os.environ.get("THREADS", THREADS)),
        # A decoder that crashes takes the worker with it, not the function.
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
        log_level=LogLevels.error,
    ).serve()


def application() -> Any:
    """Make the application, in the worker's process."""
    # A worker whose parent was killed would keep the port.
    end_with(os.getppid())
    target, source = os.environ["FUNCTION_TARGET"], os.environ["FUNCTION_SOURCE"]
    return functions_framework.create_app(target, source).wsgi_app  # type: ignore[no-untyped-call]
