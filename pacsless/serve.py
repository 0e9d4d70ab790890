"""A function's server, started by a trigger that has already made its socket.

``python -m pacsless.serve PARENT SOCKET`` is ``functions-framework`` on an open,
listening socket, in a process that the kernel ends with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3), which gunicorn follows."""


def main(parent: int, listener: int) -> None:
    """Serve the function that the environment names.

    Parameters
    ----------
    parent
        Process whose end is this one's; its thread that started this one must live on.
    listener
        Descriptor of the socket.
    """
    _end_with(parent)
    if listener != _FIRST_SOCKET:
        os.dup2(listener, _FIRST_SOCKET)
        os.close(listener)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    # gunicorn forks a worker, which works for nobody when gunicorn is gone.
    arbiter = os.getpid()
    os.register_at_fork(after_in_child=lambda: _end_with(arbiter))
    # Imports make no garbage; looking for some is a sixth of their time.
    gc.disable()
    os.register_at_fork(before=gc.freeze, after_in_child=gc.enable, after_in_parent=gc.enable)
    sys.argv[:] = ["functions-framework"]
    runpy.run_module("functions_framework", run_name="__main__")


def _end_with(parent: int) -> None:
    # SIGKILL: what a worker did on after its trigger's end, the next trigger would
    # have done by another at the same time.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had ended before


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
