"""Ends connections that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from scp_gateway.connection import Connection

_LOOK_SECONDS: Final = 0.25


class Watchdog(threading.Thread):
    """Looks at the deadlines of all connections, four times a second.

    Parameters
    ----------
    on_round
        Called each time, for what else is to be done now and then.
    """

    def __init__(self, on_round: Callable[[], None]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._on_round = on_round
        self._connections: set[Connection] = set()

    def watch(self, connection: Connection) -> None:
        """Look at a connection's deadline from now on."""
        self._connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """Look no more."""
        self._connections.discard(connection)

    def run(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for connection in self._connections.copy():
                if connection.is_late(now):
                    connection.expire("timeout")
            self._on_round()
