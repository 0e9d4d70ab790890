"""Is it ready? Asked of each part in its own protocol, never by sleeping."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from typing import Final

from pacsless.errors import PacslessError
from pacsless.settings import Settings
from pacsless.stack.settings import LOOPBACK

Probe = Callable[[], None]
"""Returns when the part is ready, raises `NotReady` when it is not."""

_TIMEOUT: Final = 2.0


class NotReady(Exception):
    """Not yet; the text says why."""


def http_ok(port: int, path: str) -> Probe:
    """Probe that wants a 2xx or 3xx answer to ``GET path``."""

    def probe() -> None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(200)
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"GET {path} on port {port}: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status >= 400:
            told = body.decode("ascii", "replace").strip()
            raise NotReady(f"GET {path} on port {port} answers {answer.status} {told}")

    return probe


def kafka_topics(port: int) -> Probe:
    """Probe that wants the list of topics, and makes those that are missing."""
    settings = Settings(kafka=(f"{LOOPBACK}:{port}",))

    def probe() -> None:
        # Kafka's client waits longer for a listener than one takes to appear.
        _connected(port, "list_topics").close()
        from pacsless.bus import create_topics

        try:
            create_topics(settings)
        except PacslessError as error:
            raise NotReady(error.message) from None

    return probe


def postgres_select(address: str) -> Probe:
    """Probe that wants an answer to ``SELECT 1``."""

    def probe() -> None:
        from pacsless.postgres import Address, Database

        where = Address.parse(address)
        _connected(where.port, "SELECT 1").close()
        database = Database(where, size=1)
        try:
            database.check()
        except PacslessError as error:
            raise NotReady(error.message) from None
        finally:
            database.close()

    return probe


def redis_ping(port: int) -> Probe:
    """Probe that wants ``+PONG``; while Redis loads its data it says ``-LOADING``."""

    def probe() -> None:
        with _connected(port, "PING") as connection:
            connection.sendall(b"PING\r\n")
            if not _received(connection, 64).startswith(b"+PONG"):
                raise NotReady(f"PING on port {port} is not answered with PONG")

    return probe


def greets(port: int) -> Probe:
    """Probe for a server that speaks first, as MySQL's does."""

    def probe() -> None:
        with _connected(port, "greeting") as connection:
            if not _received(connection, 1):
                raise NotReady(f"port {port} gives no greeting")

    return probe


def both(first: Probe, second: Probe) -> Probe:
    """Probe that wants two."""

    def probe() -> None:
        first()
        second()

    return probe


def _connected(port: int, asking: str) -> socket.socket:
    try:
        return socket.create_connection((LOOPBACK, port), _TIMEOUT)
    except OSError as error:
        raise NotReady(f"{asking} on port {port}: {type(error).__name__}") from None


def _received(connection: socket.socket, most: int) -> bytes:
    try:
        return connection.recv(most)
    except OSError:
        return b""
