"""Delivery on new associations, to a real SCU."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from scp_gateway.application_entities import Remote
from scp_gateway.storage_commitment import (
    Deliverer,
    Transactions,
)
from scp_gateway.storage_commitment.destinations import Destinations
from scp_gateway.storage_commitment.transactions import Held

from pacsless.storage import Sender
from tests.certificates import Authority
from tests.eventually import eventually
from tests.ports import free_ports
from tests.unit.storage_commitment.parts import (
    Association,
    Index,
    Scu,
    add,
    ask,
    checker,
    delivering,
    leave,
    pairs,
    references,
    serving,
)


def test_the_deliverer_reports_on_an_association_of_its_own(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    good, bad = references(2), references(3)
    for one in good:
        index.store(one)
    leave(transactions, good, "1.2.1")
    leave(transactions, bad, "1.2.2")
    listening = scu()
    with delivering(transactions, index, listening.remote) as deliverer:
        eventually(lambda: transactions.pending() == [])
        assert eventually(lambda: deliverer.counts()["delivered"] == 2)
        assert deliverer.counts() == {
            "committed": 1, "failed": 1, "delivered": 2, "undelivered": 0, "pending": 0,
        }  # fmt: skip
    told = {one.TransactionUID: (kind, one) for kind, one in listening.reports}
    assert told["1.2.1"][0] == 1 and pairs(told["1.2.1"][1], "ReferencedSOPSequence") == list(good)
    assert told["1.2.2"][0] == 2
    assert pairs(told["1.2.2"][1], "FailedSOPSequence") == [bad[2]]
    assert set(listening.titles) == {("PACSLESS", "CT_SCANNER")}
    assert set(listening.roles) == {(False, True)}


def test_the_result_of_before_the_crash_is_repeated(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    _, held = add(transactions, references(1))
    assert held is not None
    held.decide(held.load(), {0: 0x0110})
    held.release()  # killed between result and report
    index.store(references(1)[0])  # what a check would find now
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    ((event_type, told),) = listening.reports
    assert event_type == 2 and told.FailedSOPSequence[0].FailureReason == 0x0110
    assert index.asked == []


def test_an_scu_that_refuses_twice_is_asked_a_third_time(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    leave(transactions, references(1))
    listening = scu(0x0110, 0x0213)
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 3
    assert len({str(told) for _, told in listening.reports}) == 1


def test_an_scu_that_comes_late_gets_its_results(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    (port,) = free_ports(1)
    for number in range(5):
        leave(transactions, references(1), f"1.2.{number}")
    with delivering(transactions, index, Remote("127.0.0.1", port, tls=False)) as deliverer:
        eventually(lambda: deliverer.counts()["failed"] == 5)
        assert deliverer.counts()["pending"] == 5
        listening = scu(port=port)
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 5


@pytest.mark.parametrize("why", ["nobody", "not-configured", "rejects", "silent", "endless-pdu"])
def test_a_result_nobody_takes_is_moved_aside(
    transactions: Transactions,
    index: Index,
    scu: Callable[..., Scu],
    caplog: pytest.LogCaptureFixture,
    why: str,
) -> None:
    name = leave(transactions, references(1))
    remote: Remote | None = Remote("127.0.0.1", free_ports(1)[0], tls=False)
    how: dict[str, Any] = {"retry_seconds": 0.0, "answer_seconds": 0.3}
    with socket.create_server(("127.0.0.1", 0)) as server:
        if why == "not-configured":
            remote = None
        elif why == "rejects":
            remote = scu(title="ANOTHER").remote
        elif why in ("silent", "endless-pdu"):
            remote = Remote("127.0.0.1", server.getsockname()[1], tls=False)
        if why == "endless-pdu":
            how["answer_seconds"] = 20.0

            def announce() -> None:
                client = server.accept()[0]
                client.sendall(pack(">BxL", 2, 0xFFFFFFF0) + bytes(1000))
                client.recv(1 << 16)
                client.close()

            threading.Thread(target=announce, daemon=True).start()
        with delivering(transactions, index, remote, **how) as deliverer:
            eventually(lambda: deliverer.counts()["undelivered"] == 1, within=15)
    assert transactions.pending() == []
    aside = transactions.folder / "undelivered"
    assert sorted(one.name for one in aside.iterdir()) == [f"{name}.request", f"{name}.result"]
    errors = [one for one in caplog.records if one.levelname == "ERROR"]
    mine = [one for one in errors if one.name.startswith("scp_gateway")]
    assert len(mine) == 1 and "undelivered" in mine[0].getMessage()


def test_an_unconfigured_scu_is_named_once_and_its_results_stay(
    transactions: Transactions, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        leave(transactions, references(1), f"1.2.{number}")
    asked: list[tuple[str, str]] = []
    deliverer = Deliverer(transactions, checker(index), lambda *who: asked.append(who))
    deliverer.start()
    eventually(lambda: len(asked) == 3)
    deliverer.stop(30)
    assert set(asked) == {("default", "CT_SCANNER")}
    assert len(transactions.pending()) == 3
    assert len([one for one in caplog.records if "remotes" in one.getMessage()]) == 1


def test_a_damaged_transaction_is_moved_aside_and_stops_no_other(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    name = leave(transactions, references(1), "1.2.1")
    (transactions.folder / f"{name}.request").write_bytes(b"{}")
    leave(transactions, references(1), "1.2.2")
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    assert [told.TransactionUID for _, told in listening.reports] == ["1.2.2"]
    assert (transactions.folder / "undelivered" / f"{name}.request").exists()


def test_the_deliverer_waits_for_the_receiver_and_takes_over(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    _, held = add(transactions, references(1))
    assert held is not None
    listening = scu()
    looks: list[str] = []
    real = transactions.hold

    def hold(name: str) -> Held | None:
        looks.append(name)
        return real(name)

    transactions.hold = hold  # type: ignore[method-assign]
    with delivering(transactions, index, listening.remote):
        eventually(lambda: len(looks) >= 3)
        assert not listening.reports
        held.release()
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 1


def test_an_ended_association_makes_way_for_the_deliverer_at_once(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    listening = scu()
    ended = Association()
    with (
        serving(transactions, checker(index)) as service,
        delivering(transactions, index, listening.remote),
    ):
        assert ask(service, ended, references(1)) == 0
        eventually(lambda: transactions.pending() == [], within=10)
    assert len(ended.reports) == 1 and len(listening.reports) == 1


def test_ten_thousand_references_are_delivered_as_they_are(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    asked = references(10_000)
    _, held = add(transactions, asked)
    assert held is not None
    held.decide(held.load(), {9_999: 0x0112})
    held.release()
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    told = listening.reports[0][1]
    assert pairs(told, "ReferencedSOPSequence") == list(asked[:-1])
    assert pairs(told, "FailedSOPSequence") == [asked[-1]]


def test_a_result_goes_by_tls_to_whom_the_certificate_says(
    transactions: Transactions, index: Index, scu: Callable[..., Scu], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("scu.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    listening = scu(tls=server)
    leave(transactions, references(1), "1.2.1")
    client = ssl.create_default_context(cafile=authority.certificate)
    with delivering(transactions, index, listening.remote, tls=lambda: client):
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 1
    # With a context that does not know the authority, nothing is said.
    leave(transactions, references(1), "1.2.2")
    with delivering(
        transactions, index, listening.remote, tls=ssl.create_default_context, retry_seconds=0.0
    ) as deliverer:
        eventually(lambda: deliverer.counts()["undelivered"] == 1)
    assert len(listening.reports) == 1


def test_the_tls_context_is_asked_for_each_time(
    transactions: Transactions, index: Index, scu: Callable[..., Scu], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("scu.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    listening = scu(tls=server)
    contexts: list[ssl.SSLContext] = []

    def renewed() -> ssl.SSLContext:
        # The first is of before the authority was changed, and the second cannot be read.
        contexts.append(ssl.create_default_context())
        if len(contexts) == 2:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if len(contexts) > 2:
            contexts[-1].load_verify_locations(authority.certificate)
        return contexts[-1]

    leave(transactions, references(1))
    with delivering(transactions, index, listening.remote, tls=renewed):
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 1 and len(contexts) == 3


@pytest.mark.parametrize("tls", [None, lambda: None])
def test_an_scu_with_tls_and_a_gateway_without_is_told_of_once(
    transactions: Transactions, index: Index, caplog: pytest.LogCaptureFixture, tls: Any
) -> None:
    for number in range(3):
        leave(transactions, references(1), f"1.2.{number}")
    asked: list[str] = []

    def remote(_tenant: str, title: str) -> Remote:
        asked.append(title)
        return Remote("127.0.0.1", free_ports(1)[0], tls=True)

    with delivering(transactions, index, remote, tls=tls):
        eventually(lambda: len(asked) == 3)
    assert len(transactions.pending()) == 3
    (told,) = [one.getMessage() for one in caplog.records if "TLS" in one.getMessage()]
    assert "PACSLESS_GATEWAY_TLS_PORT" in told


@contextmanager
def dead_host() -> Iterator[Remote]:
    """Where nobody answers a SYN: its queue of connections is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield Remote("127.0.0.1", address[1], tls=False)


def lost(deliverer: Deliverer) -> int:
    return deliverer.counts()["undelivered"]


def test_a_dead_host_is_soon_given_up_and_delays_nobodys_check(
    transactions: Transactions, index: Index
) -> None:
    how = {"connect_seconds": 2.0, "answer_seconds": 60.0, "retry_seconds": 0.0}
    with (
        dead_host() as remote,
        delivering(transactions, index, remote, associations=2, **how) as deliverer,
    ):
        begun = time.monotonic()
        for number in range(2):
            leave(transactions, references(1), sender=Sender("default", f"DEAD{number}", "P", ""))
        eventually(lambda: deliverer.counts()["failed"] == 2)
        leave(transactions, references(1))
        # Both threads still wait for a SYN-ACK.
        eventually(lambda: deliverer.counts()["failed"] == 3 and not lost(deliverer))
        eventually(lambda: lost(deliverer) == 3)
        assert time.monotonic() - begun < 30


def test_only_scus_with_pending_transactions_are_remembered() -> None:
    destinations = Destinations((1.0, 2.0))
    first, other = destinations.of("t-a-1-1"), destinations.of("t-b-1-1")
    assert destinations.of("t-a-2-2") is first
    destinations.keep(["t-b-7-7"])
    assert len(destinations) == 1
    assert destinations.of("t-b-1-1") is other and destinations.of("t-a-1-1") is not first
