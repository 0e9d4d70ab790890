"""Ends connections that take too long."""

from __future__ import annotations

import threading
import time
from typing import Final

from scp_gateway.connection import Connection

_LOOK_SECONDS: Final = 0.25


class Watchdog(threading.Thread):
    """Looks at the deadlines of all connections, four times a second."""

    def __init__(self) -> None:
        super().__init__(name="watchdog", daemon=True)
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
