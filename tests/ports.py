"""Ports nobody listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from pacsless.stack.settings import Ports


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, each another."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def free_base() -> int:
    """Port from which on a stack finds all it needs free."""
    while True:
        (base,) = free_ports(1)
        if base < 65000 and not Ports.at(base).in_use():
            return base
