"""A thread for every connection, and an end to all of them."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from typing import Any, Final

_logger: Final = logging.getLogger(__name__)


class Listener(socketserver.ThreadingMixIn):
    """What the servers do with connections."""

    # Threads are daemons so that a warehouse that fails ends; one that stops joins them.
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, and remember both."""
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), daemon=self.daemon_threads
        )
        self._connections[request] = thread
        thread.start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; log the rest, without the client's data."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _logger.exception("connection ended by an error of ours")

    def disconnect(self) -> None:
        """Read no more from any client; let what is being done be finished and answered."""
        for connection, thread in list(self._connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            thread.join(10)
