"""Operating it: stopping, reloading, a process that dies, what it tells."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pacsless.events import InstanceStored
from tests.certificates import Authority
from tests.dimse import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ECHO,
    RELEASE_RP,
    RELEASE_RQ,
    Instance,
    Pdu,
    Peer,
    associate_rq,
    pdu,
)
from tests.eventually import eventually
from tests.gateway import ROOT, GatewayProcess
from tests.ports import free_ports

Start = Callable[..., GatewayProcess]
Check = Callable[[GatewayProcess], None]
KILLED: Final = "a receiver does not stop and is killed"
WRONG: Final = "the new configuration is not used: the old one stays"
_LARGE: Final = Instance("1.2.3.4.5", pixels=bytes(300_000))


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    return start(GATEWAY_PROCESSES="2")


def terminate(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    gateway.process.terminate()


def exit_code(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    return gateway.process.wait(60)


# -- SIGTERM


def test_sigterm_asks_to_release_and_lets_finish(start_own: Start) -> None:
    gateway = start_own(GATEWAY_STOP_SECONDS="4")
    message = _LARGE.message()
    with ExitStack() as stack:
        obedient, deaf, busy, asking = (stack.enter_context(Peer(gateway.port)) for _ in range(4))
        for peer in (obedient, deaf, busy):
            peer.associate()
            assert peer.echo() == 0
        busy.send(message[:-70_000])
        eventually(gateway.incoming)
        began = time.monotonic()
        terminate(gateway)
        assert obedient.read() == Pdu(RELEASE_RQ, bytes(4))
        obedient.send(pdu(RELEASE_RP, bytes(4)))
        assert obedient.rest() == []
        assert deaf.read().kind == RELEASE_RQ
        with pytest.raises(OSError):
            Peer(gateway.port)
        busy.send(message[-70_000:])
        assert busy.status() == 0
        assert busy.read().kind == RELEASE_RQ
        busy.send(pdu(RELEASE_RP, bytes(4)))
        # It says nothing, and is gone some seconds later.
        assert [one.kind for one in deaf.rest()] in ([], [ABORT])
        assert time.monotonic() - began < 12
        assert asking.rest() == []
        assert exit_code(gateway) == 0
    assert list(gateway.stored()) == ["default/1.2.3/1.2.3.4/1.2.3.4.5.dcm"]
    assert len(gateway.promised(InstanceStored)) == 1
    lines = gateway.lines("association ended")
    assert sorted(line["end"] for line in lines) == ["aborted", "aborted", "released", "released"]
    assert gateway.lines("stopped")
    assert not gateway.lines(KILLED)


def test_release_is_asked_for_by_both_at_once(start_own: Start) -> None:
    """PS3.8 §9.2.3, AR-8 to AR-10: the acceptor answers when it has been answered."""
    gateway = start_own(GATEWAY_STOP_SECONDS="6")
    with Peer(gateway.port) as peer:
        peer.associate()
        terminate(gateway)
        assert peer.read().kind == RELEASE_RQ
        peer.send(pdu(RELEASE_RQ, bytes(4)))
        assert not select.select([peer.socket], [], [], 0.5)[0], "it is not its turn"
        peer.send(pdu(RELEASE_RP, bytes(4)))
        assert peer.rest() == [Pdu(RELEASE_RP, bytes(4))]
        assert exit_code(gateway) == 0
    assert [line["end"] for line in gateway.lines("association ended")] == ["released"]


def test_sigterm_and_a_sender_that_never_ends(start_own: Start) -> None:
    """Half an instance is no reason to stay for ever."""
    gateway = start_own(GATEWAY_STOP_SECONDS="1")
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(_LARGE.message()[:-70_000])
        eventually(gateway.incoming)
        terminate(gateway)
        assert exit_code(gateway) == 0
        assert [one.kind for one in peer.rest()] in ([], [ABORT])
    assert not gateway.incoming() and not gateway.stored()
    assert not gateway.lines(KILLED)


def _stuck_in_sending(peer: Peer) -> None:
    """Ask without ever reading, until the gateway cannot send any more."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.associate()
    peer.socket.setblocking(False)
    flood = ECHO * 1000
    while select.select([], [peer.socket], [], 1.0)[1]:
        peer.socket.send(flood)


def test_sigterm_and_threads_that_hang(start_own: Start, tmp_path: Path) -> None:
    """Whoever hangs in sending, or in half a TLS record, must not hold up the others' end."""
    (port,) = free_ports(1)
    authority = Authority(tmp_path)
    pair = authority.issue("localhost")
    gateway = start_own(
        GATEWAY_STOP_SECONDS="3",
        GATEWAY_PROCESSES="1",
        GATEWAY_TLS_PORT=str(port),
        GATEWAY_TLS_CERTIFICATE=str(pair.certificate),
        GATEWAY_TLS_KEY=str(pair.key),
    )
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    trusting.check_hostname = False
    message = _LARGE.message()
    with ExitStack() as stack:
        stuck, busy, idle = (stack.enter_context(Peer(gateway.port)) for _ in range(3))
        _stuck_in_sending(stuck)
        half = stack.enter_context(Peer(port, tls=trusting))
        for peer in (half, busy, idle):
            peer.associate()
        raw = stack.enter_context(socket.socket(fileno=os.dup(half.socket.fileno())))
        raw.sendall(b"\x17\x03\x03\x40\x00half of it")
        busy.send(message[:-70_000])
        eventually(gateway.incoming)
        terminate(gateway)
        assert idle.read().kind == RELEASE_RQ
        idle.send(pdu(RELEASE_RP, bytes(4)))
        busy.send(message[-70_000:])
        assert busy.status() == 0
        assert exit_code(gateway) == 0
    assert not gateway.lines(KILLED)


# -- reloading

_RULES: Final = """
[tenants.default]
called = ["{called}"]
calling = ["{calling}"]
"""


def asked(gateway: GatewayProcess, called: str, calling: str) -> int:
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(called=called, calling=calling))
        return peer.read().kind


def hang_up_signal(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def test_rules_are_reloaded_and_open_associations_go_on(start_own: Start, tmp_path: Path) -> None:
    rules = tmp_path / "ae.toml"
    rules.write_text(_RULES.format(called="OLD", calling="CT1"))
    gateway = start_own(GATEWAY_AE_FILE=str(rules))
    with Peer(gateway.port) as old:
        old.associate(called="OLD", calling="CT1")
        old.send(_LARGE.message()[:-70_000])
        rules.write_text(_RULES.format(called="NEW", calling="CT2"))
        hang_up_signal(gateway)
        eventually(lambda: asked(gateway, "NEW", "CT2") == ASSOCIATE_AC)
        assert asked(gateway, "OLD", "CT1") == ASSOCIATE_RJ
        assert asked(gateway, "NEW", "CT1") == ASSOCIATE_RJ
        old.send(_LARGE.message()[-70_000:])
        assert old.status() == 0
        assert old.store(Instance("1.2.4")) == 0

        # A ConfigMap's update sends no signal.
        rules.write_text(_RULES.format(called="NEWER", calling="CT2"))
        eventually(lambda: asked(gateway, "NEWER", "CT2") == ASSOCIATE_AC)

        assert not gateway.lines(WRONG)
        rules.write_text(_RULES.format(called="TITLE-THAT-IS-TOO-LONG", calling="CT2"))
        hang_up_signal(gateway)
        line = eventually(lambda: gateway.lines(WRONG))[0]
        assert line["level"] == "ERROR"
        assert "tenants.default.called[0]" in line["text"]
        assert asked(gateway, "NEWER", "CT2") == ASSOCIATE_AC
        assert asked(gateway, "OLD", "CT1") == ASSOCIATE_RJ

        rules.unlink()
        hang_up_signal(gateway)
        eventually(lambda: any("cannot be read" in one["text"] for one in gateway.lines(WRONG)))
        assert str(rules) in gateway.lines(WRONG)[-1]["text"]
        assert asked(gateway, "NEWER", "CT2") == ASSOCIATE_AC
        assert old.store(Instance("1.2.5")) == 0
        old.release()

    # A file that stays broken over a night must not fill the log.
    count = len(gateway.lines(WRONG))
    with pytest.raises(AssertionError):
        eventually(lambda: len(gateway.lines(WRONG)) > count + 1, within=4.5)


def test_a_new_certificate_is_shown_without_a_restart(start_own: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    authority = Authority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def put(pair: Any) -> None:
        certificate.write_bytes(pair.certificate.read_bytes())
        key.write_bytes(pair.key.read_bytes())

    put(first)
    gateway = start_own(
        GATEWAY_TLS_PORT=str(port),
        GATEWAY_TLS_CERTIFICATE=str(certificate),
        GATEWAY_TLS_KEY=str(key),
    )
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    trusting.check_hostname = False

    def shown() -> str:
        with Peer(port, tls=trusting) as peer:
            assert isinstance(peer.socket, ssl.SSLSocket)
            subject: Any = (peer.socket.getpeercert() or {})["subject"]
            return str(subject[0][0][1])

    assert shown() == "first"
    with Peer(port, tls=trusting) as old:
        old.associate()
        put(second)
        hang_up_signal(gateway)
        eventually(lambda: shown() == "second")
        assert old.echo() == 0
        key.write_bytes(first.key.read_bytes())
        hang_up_signal(gateway)
        eventually(lambda: gateway.lines(WRONG))
        assert shown() == "second"
        assert old.echo() == 0


# -- settings

_WRONG: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "number": ({"MAX_PDU": "big"}, ("PACSLESS_GATEWAY_MAX_PDU", "whole number")),
    "missing-rules": ({"AE_FILE": "/none.toml"}, ("PACSLESS_GATEWAY_AE_FILE", "/none.toml")),
    "port-too-high": ({"PORT": "70000"}, ("PACSLESS_GATEWAY_PORT",)),
    "admin-port-too-low": ({"ADMIN_PORT": "-1"}, ("PACSLESS_GATEWAY_ADMIN_PORT",)),
    "port-in-use": ({"PORT": "{taken}"}, ("{taken}",)),
    "admin-port-in-use": ({"ADMIN_PORT": "{taken}"}, ("{taken}",)),
    "host": ({"HOST": "192.0.2.1"}, ("192.0.2.1",)),
}
"""Settings that are wrong, and what is to be said of them; `GatewaySettings` has more."""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit codes and outputs of gateways with wrong settings, which were started together."""
    found: dict[str, tuple[int, str]] = {}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        started = {}
        for name, (wrong, _) in _WRONG.items():
            folder = tmp_path_factory.mktemp("wrong")
            environ = {
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scp-gateway'}",
                "PACSLESS_ARCHIVE": f"file://{folder / 'archive'}",
                "PACSLESS_SPOOL": str(folder / "spool"),
                "PACSLESS_GATEWAY_PORT": "0",
                "PACSLESS_GATEWAY_ADMIN_PORT": "0",
                "PACSLESS_GATEWAY_STORAGE_COMMITMENT": "false",
                **{
                    f"PACSLESS_GATEWAY_{key}": value.replace("{taken}", port)
                    for key, value in wrong.items()
                },
            }
            started[name] = subprocess.Popen(
                [sys.executable, "-m", "scp_gateway"],
                env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        for name, process in started.items():
            try:
                output, _ = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            found[name] = process.returncode, output.replace(port, "{taken}")
    return found


@pytest.mark.parametrize("name", list(_WRONG))
def test_wrong_settings_are_refused_in_one_clear_line(
    refusals: dict[str, tuple[int, str]], name: str
) -> None:
    code, output = refusals[name]
    assert code == 1, output
    assert len(output.splitlines()) == 1, output
    assert output.startswith("{"), output
    for text in _WRONG[name][1]:
        assert text in output, output


# -- a process that dies


def _counters(gateway: GatewayProcess) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(gateway.get("/metrics")[1])
        if family.type == "counter"
        for sample in family.samples
    }


def test_a_receiver_that_is_killed_takes_no_other_with_it(start_own: Start) -> None:
    gateway = start_own(GATEWAY_PROCESSES="2")
    message = _LARGE.message()
    eventually(lambda: gateway.metric("receivers") == 2)
    victim, survivor = gateway.receivers()
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(gateway.port)) for _ in range(4)]
        for number, peer in enumerate(peers):
            peer.associate()
            assert peer.store(Instance(f"1.2.{number}")) == 0
            peer.send(message[:-70_000])
        eventually(lambda: len(gateway.incoming()) == 4)
        before = _counters(gateway)
        os.kill(victim, signal.SIGKILL)
        # Those of the victim end; each receiver had two.
        eventually(lambda: len(select.select([one.socket for one in peers], [], [], 0)[0]) == 2)
        began = time.monotonic()
        assert gateway.get("/readyz") == (200, "ready\n"), "another receiver is ready"
        assert time.monotonic() - began < 2, "and does not wait for the one that is started again"
        between = _counters(gateway)
        ended = select.select([one.socket for one in peers], [], [], 0)[0]
        alive = [one for one in peers if one.socket not in ended]
        for peer in alive:
            peer.send(message[-70_000:])
            assert peer.status() == 0
            peer.release()
        eventually(lambda: gateway.metric("receivers") == 2)
        assert survivor in gateway.receivers() and victim not in gateway.receivers()
        assert not gateway.incoming(), "what was half there is swept"
        after = _counters(gateway)
        for key, value in before.items():
            assert between.get(key, 0) >= value, key
            assert after.get(key, 0) >= between.get(key, 0), key
        eventually(lambda: gateway.metric("associations") == 0)
        assert [line["level"] for line in gateway.lines("a receiver ended and is started again")]
        # The new one takes its share.
        for _ in range(4):
            peer = stack.enter_context(Peer(gateway.port))
            peer.associate()
            assert peer.echo() == 0
    assert len(gateway.stored()) == 5


def test_a_receiver_that_hangs_is_told_of(gateway: GatewayProcess) -> None:
    frozen = gateway.receivers()[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert gateway.get("/healthz") == (503, "a receiver does not answer\n")
    finally:
        os.kill(frozen, signal.SIGCONT)
    eventually(lambda: gateway.get("/healthz") == (200, "ok\n"))


# -- what it tells


def test_metrics_are_prometheus(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(calling="SECRET_AE")
        assert peer.store(Instance("1.2.3.4.9")) == 0
        assert gateway.metric("associations") == 1
        peer.release()
    eventually(lambda: gateway.metric("associations_ended_total", end="released") >= 1)
    page = gateway.get("/metrics")[1]
    families = {one.name: one for one in text_string_to_metric_families(page)}
    assert {
        f"pacsless_gateway_{name}"
        for name in (
            "outbox_depth", "outbox_oldest_seconds", "associations", "associations_ended",
            "instances", "received_bytes", "refused_connections", "receivers", "spool_full",
        )
    } <= families.keys()  # fmt: skip
    assert all(one.documentation for one in families.values())
    labels = {key for one in families.values() for sample in one.samples for key in sample.labels}
    assert labels <= {"outcome", "status", "end"}
    assert "SECRET_AE" not in page and "1.2.3" not in page
    assert gateway.metric("receivers") == 2
    assert gateway.metric("spool_full") == 0


def test_each_association_has_one_line(gateway: GatewayProcess, quiet: Check) -> None:
    quiet(gateway)
    count = len(gateway.lines("association ended"))
    with Peer(gateway.port) as peer:
        peer.associate(calling="CT1")
        for number in range(3):
            assert peer.store(Instance(f"1.3.{number}", pixels=bytes(100_000))) == 0
        assert peer.store(Instance("CANARY", study="Canary^Study")) == 0xC000
        assert peer.store(Instance("1.3.1", pixels=b"else")) == 0x0111
        peer.release()
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(called="NOBODY"))
        assert peer.read().kind == ASSOCIATE_RJ
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(pdu(ABORT, bytes(4)))
        peer.rest()
    with Peer(gateway.port) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        peer.rest()
    with Peer(gateway.port):
        pass
    quiet(gateway)
    eventually(lambda: len(gateway.lines("association ended")) >= count + 5)
    lines = gateway.lines("association ended")[count:]
    assert len(lines) == 5
    assert sorted(line["end"] for line in lines) == ["aborted"] * 3 + ["rejected", "released"]
    (line,) = [one for one in lines if one["end"] == "released"]
    assert line["instances"] == {"0000": 3, "C000": 1, "0111": 1}
    assert (line["calling"], line["called"], line["tenant"]) == ("CT1", "PACSLESS", "default")
    assert line["bytes"] > 300_000
    assert 0 < line["storing_seconds"] <= line["seconds"] < 60
    for one in lines:
        assert {"why", "address", "tls", "seconds"} <= one.keys()
    assert "CANARY" not in gateway.log.read_text()
