"""An HTTP function's server: functions-framework makes the application, granian serves it.

granian reads and writes HTTP outside of the interpreter: an instance by WADO-RS costs half
of what it costs under gunicorn, which functions-framework would start (DECISIONS.md 94).
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from typing import Any, Final

import functions_framework
from granian import Granian
from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.log import LogLevels

from pacsless.handover import threads
from pacsless.serve import end_with

_STOP_SECONDS: Final = 30
_ready: Final = mmap.mmap(-1, 1)
"""Shared with workers: 1 when one could load the function."""
_parent: Final = os.getpid()


def main() -> None:
    """Serve the function that ``FUNCTION_TARGET`` and ``FUNCTION_SOURCE`` name.

    ``HOST``, ``PORT`` and ``THREADS`` say where and how many requests at a time, as for
    functions-framework. Requests in hand are answered after SIGTERM.
    """
    address = os.environ.get("HOST", "0.0.0.0")  # noqa: S104 -- a pod's own address
    port = int(os.environ.get("PORT", "8080"))
    _refuse_if_taken(address, port)
    while True:
        _ready[0] = 0
        try:
            _server(address, port).serve()
        except SystemExit as end:
            # granian gives up when a second worker ends within seconds: for who cannot load
            # the function that is right, for who met a picture that crashes a decoder it is not.
            if not end.code or not _ready[0]:
                raise
        else:
            return


def _server(address: str, port: int) -> Any:
    return Granian(
        f"{__name__}:application",
        factory=True,
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        # One thread for the network: it does so little that a second one is only in its way.
        runtime_mode=RuntimeModes.st,
        blocking_threads=threads(),
        # A decoder that crashes takes the worker with it, not the function.
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
        log_level=LogLevels.error,
    )


def _refuse_if_taken(address: str, port: int) -> None:
    # granian's socket shares its port with whoever else would share it (SO_REUSEPORT), and
    # requests would go to either.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError as error:
            sys.exit(
                f"pacsless.serve: cannot listen on {address}:{port}: {error.strerror}; see PORT"
            )


def application() -> Any:
    """Make the application, in the worker's process."""
    # A worker whose parent was killed would keep the port.
    end_with(_parent)
    target, source = os.environ["FUNCTION_TARGET"], os.environ["FUNCTION_SOURCE"]
    made = functions_framework.create_app(target, source).wsgi_app  # type: ignore[no-untyped-call]
    _ready[0] = 1
    return made
