"""What the gateway's processes say to each other: JSON, at times with a connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from struct import pack
from typing import Any, Final, Self

_MAX_BYTES: Final = 1 << 20
_SEND_SECONDS: Final = 10


class Channel:
    """One end of a channel. Any thread may send; one receives.

    Parameters
    ----------
    end
        A connected socket of type SOCK_SEQPACKET, so messages stay apart.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lock = threading.Lock()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_BYTES)
        # Only sending is limited: a struct timeval (socket(7)).
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, pack("ll", _SEND_SECONDS, 0))

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Make a channel: our end, and the other for a child process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, message: dict[str, Any], connection: socket.socket | None = None) -> None:
        """Send a message, and an open connection with it.

        Raises
        ------
        OSError
            If the other end is gone, or takes nothing for ten seconds.
        """
        descriptors = [] if connection is None else [connection.fileno()]
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)

    def receive(self) -> tuple[dict[str, Any], socket.socket | None] | None:
        """Wait for the next message; None if the other end is gone."""
        try:
            encoded, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_BYTES, 1)
        except OSError:
            return None
        connection = socket.socket(fileno=descriptors[0]) if descriptors else None
        return (json.loads(encoded), connection) if encoded else None

    def close(self) -> None:
        """Hang up, also under a thread that receives."""
        with contextlib.suppress(OSError):  # the other end was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
