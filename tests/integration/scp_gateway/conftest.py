"""Gateways that are attacked: one for many tests, and unharmed after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.dimse import Peer
from tests.eventually import eventually
from tests.gateway import GatewayProcess, runs

Start = Callable[..., GatewayProcess]
_SHARED = ("gateway", "hasty", "capped")
_NEVER = ("an association failed", "a thread failed", "a receiver ended and is started again")


def _starting(factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[GatewayProcess] = []

    def start(**environ: str) -> GatewayProcess:
        environ.setdefault("GATEWAY_STORAGE_COMMITMENT", "false")
        gateway = GatewayProcess(factory.mktemp("gateway"), **environ)
        started.append(gateway)
        gateway.start()
        return gateway

    yield start
    for one in started:
        _kill(one)


def _kill(gateway: GatewayProcess) -> None:
    """End it and its receivers; whether somebody has reaped them already does not matter."""
    if gateway.process is None or gateway.process.poll() is not None:
        return
    receivers = gateway.receivers()
    gateway.process.kill()
    gateway.process.wait(30)
    eventually(lambda: not any(map(runs, receivers)))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start gateways that a module's tests share."""
    yield from _starting(tmp_path_factory)


@pytest.fixture
def start_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start gateways for one test."""
    yield from _starting(tmp_path_factory)


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever was done to a shared gateway: it serves on, and nothing is left over."""
    shared: list[GatewayProcess] = [
        request.getfixturevalue(name) for name in _SHARED if name in request.fixturenames
    ]
    before = {id(one): one.log.read_text() for one in shared}
    yield
    for gateway in shared:
        if gateway.process is None or gateway.process.poll() is not None:
            continue
        _await_nothing_incoming(gateway)
        assert gateway.get("/healthz") == (200, "ok\n")
        said = gateway.log.read_text().removeprefix(before[id(gateway)])
        for message in (*_NEVER, "anary"):
            assert message not in said


def _await_nothing_incoming(gateway: GatewayProcess) -> None:
    eventually(lambda: not gateway.incoming())


@pytest.fixture
def quiet() -> Callable[[GatewayProcess], None]:
    """Wait until a gateway has no connection."""

    def wait(gateway: GatewayProcess) -> None:
        eventually(lambda: gateway.metric("associations") == 0)

    return wait


@pytest.fixture
def serves() -> Callable[[GatewayProcess], None]:
    """Echo once, as anybody."""

    def check(gateway: GatewayProcess) -> None:
        with Peer(gateway.port) as peer:
            peer.associate()
            assert peer.echo() == 0
            peer.release()

    return check
