"""Ports nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

from pacsless.stack.settings import Ports

_GIVEN_FROM = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, each another."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def free_base() -> int:
    """Port from which on a stack finds all it needs free, for as long as it takes to start.

    Below those that the kernel gives to any connection in the meantime.
    """
    while True:
        base = random.randrange(10_000, max(_GIVEN_FROM, 20_000) - 100, 100)
        if not Ports.at(base).in_use():
            return base
