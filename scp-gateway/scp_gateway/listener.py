"""Accepts connections, counts them, and hands each to the receiver that has fewest."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from pacsless.settings import InvalidSetting
from scp_gateway.application_entities import ApplicationEntities
from scp_gateway.asked import Peer
from scp_gateway.receivers import ReceiverProcess

# Connections that get a proper A-ASSOCIATE-RJ, beside those that get an association.
_SPARE_CONNECTIONS: Final = 64
_BACKLOG: Final = 512
_PAUSE_SECONDS: Final = 0.1
_TRIES: Final = 50
_TELL_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


def cannot_listen(setting: str, host: str, port: int, error: OSError) -> InvalidSetting:
    """Say which setting names a port that cannot be had."""
    return InvalidSetting(
        "setting",
        f"PACSLESS_GATEWAY_{setting}: cannot listen on {host} port {port}: "
        f"{error.strerror}; set another, or PACSLESS_GATEWAY_HOST",
    )


class Admission:
    """How many connections there are, overall and of each address; thread-safe.

    Parameters
    ----------
    most, most_of_address
        How many there may be.
    """

    def __init__(self, most: int, most_of_address: int) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._numbers = itertools.count(1)
        self._addresses: dict[int, str] = {}
        self._of_address: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, address: str) -> tuple[int, bool] | None:
        """Count a connection.

        Returns
        -------
        tuple or None
            Its number, and whether it is over the limit of associations; None
            if there is no place for it at all.
        """
        with self._lock:
            is_over = len(self._addresses) >= self._most
            if len(self._addresses) >= self._most + _SPARE_CONNECTIONS:
                return None
            if self._of_address[address] >= self._most_of_address:
                return None
            number = next(self._numbers)
            self._addresses[number] = address
            self._of_address[address] += 1
            return number, is_over

    def leave(self, number: int) -> None:
        """Count one less."""
        with self._lock:
            address = self._addresses.pop(number, None)
            if address is not None:
                self._of_address[address] -= 1
                if not self._of_address[address]:
                    del self._of_address[address]


class Listener(threading.Thread):
    """Listens on one port.

    Parameters
    ----------
    host, port
        Where; 0 for any free port.
    tls
        Whether senders speak TLS here.
    admission
        Shared by all listeners.
    receivers
        Who takes the connections.
    entities
        Tells from which addresses anybody may come.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool,
        admission: Admission,
        receivers: Sequence[ReceiverProcess],
        entities: Callable[[], ApplicationEntities],
    ) -> None:
        super().__init__(name="listener-tls" if tls else "listener", daemon=True)
        self._tls = tls
        self._admission = admission
        self._receivers = receivers
        self._entities = entities
        self._stopping = False
        self._told_at = float("-inf")
        self.refused = 0
        """Connections that were closed unheard."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::"
            )
        except OSError as error:
            raise cannot_listen("TLS_PORT" if tls else "PORT", host, port, error) from None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    def run(self) -> None:
        while not self._stopping:
            try:
                client, address = self._socket.accept()
            except OSError as error:
                if self._stopping:
                    return
                # Out of descriptors, most likely: those who wait, wait.
                _log.error("cannot accept connections", extra={"fields": {"errno": error.errno}})
                time.sleep(_PAUSE_SECONDS)
                continue
            with client:
                self._admit(client, str(address[0]), int(address[1]))

    def _admit(self, client: socket.socket, address: str, port: int) -> None:
        """Refuse what is too much before it costs a thread, or hand it over."""
        why = "" if self._entities().allows_address(address) else "no tenant is reached from there"
        entered = None if why else self._admission.enter(address)
        if entered is None:
            self.refused += 1
            # One who comes a thousand times a second must not fill the log as well.
            if time.monotonic() - self._told_at > _TELL_SECONDS:
                self._told_at = time.monotonic()
                _log.warning(
                    "connections are refused",
                    extra={
                        "fields": {
                            "address": address,
                            "why": why or "too many connections",
                            "refused": self.refused,
                        }
                    },
                )
            return
        number, is_over = entered
        if not self._hand_over(number, client, Peer(address, port, self._tls, is_over)):
            self._admission.leave(number)
            _log.error("no receiver takes a connection", extra={"fields": {"address": address}})

    def _hand_over(self, number: int, client: socket.socket, peer: Peer) -> bool:
        for _ in range(_TRIES):
            ready = [one for one in self._receivers if one.is_ready]
            if ready:
                with contextlib.suppress(OSError):  # it has just ended; another will do
                    min(ready, key=lambda one: len(one.connections)).give(number, client, peer)
                    return True
            time.sleep(_PAUSE_SECONDS)
        return False

    def stop(self) -> None:
        """Stop listening."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
