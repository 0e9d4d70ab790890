"""A function's server, the one its declaration names (`pacsless.functions.Server`).

``python -m pacsless.serve`` serves the function that ``FUNCTION_TARGET`` and
``FUNCTION_SOURCE`` name on ``HOST`` and ``PORT``, as ``functions-framework`` does.

``python -m pacsless.serve PARENT SOCKET`` is ``functions-framework`` for a trigger: on an
open, listening socket, in a process that the kernel ends with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3), which gunicorn follows."""


def main() -> None:
    """Serve as the arguments say."""
    match sys.argv[1:]:
        case [parent, listener]:
            _for_trigger(int(parent), int(listener))
        case []:
            _serve()
        case _:
            sys.exit("pacsless.serve: takes nothing, or the number of a process and of a socket")


def end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, at once.

    Parameters
    ----------
    parent
        Process whose end is this one's; its thread that started this one must live on.
    """
    # SIGKILL: what a worker did on after its trigger's end, the next trigger would
    # have done by another at the same time.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had ended before


def _serve() -> None:
    from pacsless.errors import PacslessError
    from pacsless.functions import load_function

    try:
        source = os.environ["FUNCTION_SOURCE"]
        server = load_function(Path(source).parent).server
    except KeyError as error:
        sys.exit(f"pacsless.serve: {error} is not set; it names the function's main.py")
    except PacslessError as error:
        sys.exit(f"pacsless.serve: {error}")
    if server == "granian":
        from pacsless import http_server

        http_server.main()
    else:
        _functions_framework()


def _for_trigger(parent: int, listener: int) -> None:
    end_with(parent)
    if listener != _FIRST_SOCKET:
        os.dup2(listener, _FIRST_SOCKET)
        os.close(listener)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    # gunicorn forks a worker, which works for nobody when gunicorn is gone.
    arbiter = os.getpid()
    os.register_at_fork(after_in_child=lambda: end_with(arbiter))
    # Imports make no garbage; looking for some is a sixth of their time.
    gc.disable()
    os.register_at_fork(before=gc.freeze, after_in_child=gc.enable, after_in_parent=gc.enable)
    _functions_framework()


def _functions_framework() -> None:
    sys.argv[:] = ["functions-framework"]
    runpy.run_module("functions_framework", run_name="__main__")


if __name__ == "__main__":
    main()
