"""Which authority's certificates are believed: the chart's `trust.existingSecret` sets it so."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pacsless.dependencies import DEPENDENCIES
from pacsless.errors import PacslessError
from pacsless.oauth2.provider import Provider
from pacsless.settings import Settings
from tests.certificates import Authority
from tests.eventually import eventually

Ask = Callable[[int], object]


def of(name: str, **settings: object) -> Ask:
    def ask(port: int) -> object:
        given = {key: str(value).format(port=port) for key, value in settings.items()}
        return DEPENDENCIES[name].check(Settings(**given))  # type: ignore[arg-type]

    return ask


ASK: dict[str, Ask] = {
    "redis": of("redis", redis="rediss://127.0.0.1:{port}/0"),
    "doris": of("doris", doris="https://127.0.0.1:{port}"),
    "s3": of("archive", archive="s3://images", s3_endpoint="https://127.0.0.1:{port}"),
    "oauth2": lambda port: Provider(f"https://127.0.0.1:{port}").key("any"),
}


class Server:
    """Takes connections, and says of each whether its client believed who it is."""

    def __init__(self, authority: Authority) -> None:
        pair = authority.issue("store")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.believed: list[bool] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.believed.append(self._is_believed(connection))

    def _is_believed(self, connection: socket.socket) -> bool:
        connection.settimeout(10)
        try:
            # With TLS 1.3 who does not believe says so after the handshake.
            with self._context.wrap_socket(connection, server_side=True) as secured:
                return bool(secured.recv(1))
        except OSError:
            return False


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[Server]:
    one = Server(authority)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


def believed(server: Server, ask: Ask) -> bool:
    with pytest.raises(PacslessError):  # what answers is no store
        ask(server.port)
    eventually(lambda: server.believed)
    return any(server.believed)


@pytest.mark.parametrize("name", ASK)
def test_the_authority_of_the_environment_is_believed(
    name: str, server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(authority.certificate))
    assert believed(server, ASK[name])


@pytest.mark.parametrize("name", ASK)
def test_no_other_is(name: str, server: Server) -> None:
    assert not believed(server, ASK[name])
