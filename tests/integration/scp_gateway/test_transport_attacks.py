"""Attacks below DIMSE: lengths, time, numbers of connections, PDUs where they do not belong."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from pacsless.dicom.transfer_syntaxes import STORABLE
from pacsless.events import InstanceStored
from pacsless.send.pdu import LAST, P_DATA, RELEASE_RQ_PDU
from tests.certificates import Authority
from tests.dimse import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    ECHO,
    EXPLICIT,
    RELEASE_RP,
    Instance,
    Pdu,
    Peer,
    associate_rq,
    command,
    context,
    data,
    item,
    p_data,
    pdu,
    pdv,
    store_request,
)
from tests.eventually import eventually
from tests.gateway import GatewayProcess
from tests.ports import free_ports

MAX_PDU = 131072
Start = Callable[..., GatewayProcess]
Check = Callable[[GatewayProcess], None]


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    return start(GATEWAY_MAX_ASSOCIATIONS="40", GATEWAY_MAX_ASSOCIATIONS_PER_ADDRESS="16")


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def hasty(start: Start, tls_port: int, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    """One that does not wait long, with TLS."""
    pair = Authority(tmp_path_factory.mktemp("authority")).issue("localhost", ["localhost"])
    return start(
        GATEWAY_ASSOCIATION_SECONDS="2",
        GATEWAY_PDU_SECONDS="2",
        GATEWAY_TLS_PORT=str(tls_port),
        GATEWAY_TLS_CERTIFICATE=str(pair.certificate),
        GATEWAY_TLS_KEY=str(pair.key),
    )


def cpu_seconds(gateway: GatewayProcess) -> float:
    """Spent by the receivers so far."""
    ticks = 0
    for pid in gateway.receivers():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def last_line(gateway: GatewayProcess, count: int) -> dict[str, object]:
    """The line of the association that ended after `count` others."""
    return eventually(lambda: gateway.lines("association ended")[count:])[0]


# -- lengths


@pytest.mark.parametrize("kind", [0x01, 0x04, 0x07, 0x05])
@pytest.mark.parametrize("established", [False, True])
def test_a_pdu_of_4_gib_takes_no_memory(
    gateway: GatewayProcess, kind: int, established: bool
) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        assert peer.echo() == 0
    before = gateway.peak_memory()
    with Peer(gateway.port) as peer:
        if established:
            peer.associate()
        peer.push(pdu(kind, length=0xFFFFFFF0))
        for _ in range(48):
            peer.push(bytes(1 << 20))
        assert [one.kind for one in peer.rest()] in ([ABORT], [])
    assert gateway.peak_memory() - before < 12 << 20


def test_an_associate_rq_over_1_mib(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, length=(1 << 20) + 1))
        assert [one.kind for one in peer.rest()] == [ABORT], "its body was not waited for"


def test_an_announced_mib_is_not_taken_before_it_comes(
    gateway: GatewayProcess, quiet: Check
) -> None:
    with ExitStack() as stack:
        before = gateway.peak_memory()
        for number in range(30):
            peer = stack.enter_context(Peer(gateway.port, source=f"127.0.0.{2 + number // 10}"))
            peer.send(pdu(ASSOCIATE_RQ, bytes(100), length=1 << 20))
        eventually(lambda: gateway.metric("associations") == 30)
        assert gateway.peak_memory() - before < 12 << 20
    quiet(gateway)


@pytest.mark.parametrize(("over", "kinds"), [(0, [P_DATA]), (1, [ABORT])])
def test_the_negotiated_maximum_holds_to_the_byte(
    gateway: GatewayProcess, over: int, kinds: list[int]
) -> None:
    with Peer(gateway.port) as peer:
        accepted = peer.associate()
        (announced,) = accepted.of(0x51)
        assert int.from_bytes(announced) == MAX_PDU
        rest = bytes(MAX_PDU + over - 6)
        peer.send(command(store_request("1.2.3")))
        peer.send(p_data(pdv(1, LAST, rest)))
        answer = peer.read()
        assert [answer.kind] == kinds
        if over:
            assert answer == Pdu(ABORT, b"\0\0\2\6"), "provider, invalid parameter value"


# -- time


def test_slow_beginnings(hasty: GatewayProcess, tls_port: int, serves: Check) -> None:
    """A-ASSOCIATE-RQs and TLS handshakes, byte by byte, or that come to a halt."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    began = time.monotonic()
    with ExitStack() as stack:
        slow = [
            (stack.enter_context(Peer(port, tls=tls)), sent)
            for port, tls, sent in (
                (hasty.port, None, associate_rq()),
                (hasty.port, None, b"\1"),
                (hasty.port, None, b""),
                (tls_port, None, hello[:-1]),
                (tls_port, None, b""),
                (tls_port, trusting, associate_rq()),
                (tls_port, trusting, b""),
            )
        ]
        # And one that sends its whole hello at once, and no answer to the server's.
        halting = stack.enter_context(Peer(tls_port))
        halting.send(hello)
        open_ones = {peer.socket: iter(sent) for peer, sent in slow}
        while open_ones:
            for ended in select.select(list(open_ones), [], [], 0.1)[0]:
                del open_ones[ended]
            for one, rest in open_ones.items():
                with contextlib.suppress(OSError):  # noticed in the next round
                    one.sendall(bytes(islice(rest, 1)))
            assert time.monotonic() - began < 10
        for peer, _ in slow:
            with contextlib.suppress(ssl.SSLError):
                assert {one.kind for one in peer.rest()} <= {21}, "a TLS alert at most"
        halting.rest()
    assert time.monotonic() - began < 10
    serves(hasty)


def test_a_p_data_byte_by_byte(hasty: GatewayProcess) -> None:
    ended = len(hasty.lines("association ended"))
    began = time.monotonic()
    with Peer(hasty.port) as peer:
        peer.associate()
        assert peer.trickle(p_data(pdv(1, 3, bytes(1000)))) < 100
        assert [one.kind for one in peer.rest()] == [ABORT]
    assert time.monotonic() - began < 10
    assert last_line(hasty, ended)["why"] == "timeout"


def test_a_sender_that_never_reads(hasty: GatewayProcess, serves: Check) -> None:
    ended = len(hasty.lines("association ended"))
    with Peer(hasty.port) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.associate()
        peer.socket.setblocking(False)
        flood = ECHO * 1000
        deadline = time.monotonic() + 30
        while len(hasty.lines("association ended")) == ended and time.monotonic() < deadline:
            if select.select([], [peer.socket], [], 0.1)[1]:
                try:
                    peer.socket.send(flood)
                except OSError:
                    break
    line = last_line(hasty, ended)
    assert line["why"] == "timeout"
    serves(hasty)


# -- numbers


def test_300_idle_connections_of_one_address(
    gateway: GatewayProcess, serves: Check, quiet: Check
) -> None:
    quiet(gateway)
    refused = gateway.metric("refused_connections_total")
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(Peer(gateway.port))
        with Peer(gateway.port, source="127.0.0.2") as other:
            other.associate()
            assert other.echo() == 0
            other.release()
        eventually(lambda: gateway.metric("refused_connections_total") == refused + 300 - 16)
    quiet(gateway)
    serves(gateway)


def test_more_associations_than_allowed_get_a_rejection(
    gateway: GatewayProcess, quiet: Check
) -> None:
    quiet(gateway)
    with ExitStack() as stack:
        for number in range(40):
            peer = stack.enter_context(Peer(gateway.port, source=f"127.0.0.{10 + number // 10}"))
            peer.associate()
        with Peer(gateway.port) as one_more:
            one_more.send(associate_rq())
            assert one_more.read() == Pdu(ASSOCIATE_RJ, b"\0\2\3\2"), "transient, local limit"
        assert peer.echo() == 0
    quiet(gateway)


# -- A-ASSOCIATE-RQs that are much work


def _full(unit: bytes, *, around: int = 0) -> bytes:
    """As many as go into a mebibyte, or into an item of type `around`."""
    body = associate_rq()[6:]
    if not around:
        return pdu(ASSOCIATE_RQ, body + unit * (((1 << 20) - len(body)) // len(unit)))
    inner = item(around, unit * (0xFFFF // len(unit)))
    return pdu(ASSOCIATE_RQ, body + inner * (((1 << 20) - len(body)) // len(inner)))


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(_full(item(kind)), id=f"{kind:02x}")
        for kind in (0x00, 0x10, 0x20, 0x21, 0x30, 0x40, 0x50, 0x51, 0x57, 0xFF)
    ]
    + [
        pytest.param(_full(item(0x10, b"1")), id="10-one"),
        pytest.param(_full(item(0x20, b"\1\0\0\0" + item(0x30, b"1")) * 2), id="contexts"),
        pytest.param(_full(item(0x40, b"1"), around=0x20), id="transfer-syntaxes"),
        pytest.param(_full(item(0x50, item(0x51, b"\0\0\1\0"))), id="user-informations"),
        pytest.param(_full(item(0x54, b"\0\0011\1\0"), around=0x50), id="roles"),
        pytest.param(_full(item(0x56, b"\0\0011"), around=0x50), id="extended"),
        pytest.param(
            _full(item(0x57, b"\0\0011\0\0011\xff\xee" + b"\0\0011" * 21842)[:0xFFFF]),
            id="common-extended-many-related",
        ),
        pytest.param(
            _full(item(0x50, item(0x57, b"\0\0011\0\0011\xff\x00" + b"\0\0011" * 21760))),
            id="common-extended",
        ),
        pytest.param(_full(item(0x58, b"\1\0\0\1u\0\0"), around=0x50), id="identities"),
    ],
)
def test_an_associate_rq_full_of_small_things(gateway: GatewayProcess, bomb: bytes) -> None:
    before = cpu_seconds(gateway)
    with Peer(gateway.port) as peer:
        peer.push(bomb)
        assert peer.read().kind in {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT, 0}
    assert cpu_seconds(gateway) - before < 1.0


def test_128_contexts_with_many_transfer_syntaxes(gateway: GatewayProcess) -> None:
    numbers = range(1, 256, 2)
    before = cpu_seconds(gateway)
    with Peer(gateway.port) as peer:
        accepted = peer.associate(
            *(context(one, "1.2.840.10008.5.1.4.1.1.2", *sorted(STORABLE)) for one in numbers)
        )
        assert dict.fromkeys(numbers, 0) == {
            one: result for one, (result, _) in accepted.contexts.items()
        }
        peer.release()
    assert cpu_seconds(gateway) - before < 2


@pytest.mark.parametrize(
    "numbers",
    [[*range(1, 256, 2), 1], [1, 3, 1], [2], [1, 4], [0]],
    ids=["129", "duplicate", "even", "odd-and-even", "zero"],
)
def test_context_ids_that_cannot_be(gateway: GatewayProcess, numbers: list[int]) -> None:
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(*map(context, numbers)))
        assert [one.kind for one in peer.rest()] == [ABORT]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(10),
        bytes(68),
        associate_rq()[6:60],
        associate_rq()[6:-3],
        associate_rq()[6:] + b"\x20",
        associate_rq()[6:] + item(0x20, length=500),
        associate_rq(item(0x20, b"\1\0\0\0"))[6:],
        associate_rq(item(0x20, b"\1\0\0\0" + item(0x30, b"1.2.840.10008.5.1.4.1.1.2")))[6:],
        associate_rq(item(0x20, b"\1\0\0\0" + item(0x40, b"1.2.840.10008.1.2")))[6:],
        associate_rq(item(0x20, b"\1"))[6:],
        associate_rq(context(1, "no uid"))[6:],
        associate_rq(context(1, "1.2", "Ünicode"))[6:],
        associate_rq(user=item(0x51, b"\1"))[6:],
        associate_rq(user=item(0x54, b"\xff\xff1"))[6:],
        associate_rq(user=item(0x57, b"\0\x051.2"))[6:],
    ],
)
def test_an_associate_rq_that_is_none(gateway: GatewayProcess, body: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, body))
        answer = peer.read()
        # A proposed context may be malformed and be refused for itself (PS3.8 Table 9-18).
        refused = answer.kind == ASSOCIATE_AC and b"\x21\0" in answer.body
        assert answer.kind in {ABORT, ASSOCIATE_RJ} or refused, answer


# -- PDUs where they do not belong


@pytest.mark.parametrize("kind", [0x00, 0x08, 0x16, 0x80, 0xFF])
@pytest.mark.parametrize("established", [False, True])
def test_pdus_of_unknown_types(gateway: GatewayProcess, kind: int, established: bool) -> None:
    with Peer(gateway.port) as peer:
        if established:
            peer.associate()
        peer.send(pdu(kind, b"1234"))
        # PS3.8 Table 9-10: AA-8 there, AA-1 before.
        said = b"\0\0\2\1" if established else bytes(4)
        assert peer.rest() == [Pdu(ABORT, said)], "provider, unrecognized PDU; or user"


@pytest.mark.parametrize(
    "sent", [ECHO, RELEASE_RQ_PDU, pdu(RELEASE_RP, bytes(4)), pdu(ASSOCIATE_AC, bytes(68))]
)
def test_pdus_before_the_association(gateway: GatewayProcess, sent: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.send(sent)
        assert peer.rest() == [Pdu(ABORT, bytes(4))], "service user"


@pytest.mark.parametrize(
    "sent",
    [
        associate_rq(),
        pdu(RELEASE_RP, bytes(4)),
        pdu(ASSOCIATE_AC, bytes(68)),
        pdu(ASSOCIATE_RJ, bytes(4)),
    ],
    ids=["rq", "release-rp", "ac", "rj"],
)
def test_pdus_out_of_state(gateway: GatewayProcess, sent: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(sent)
        assert peer.rest() == [Pdu(ABORT, b"\0\0\2\2")], "provider, unexpected PDU"


@pytest.mark.parametrize("established", [False, True])
def test_an_abort_is_not_answered(gateway: GatewayProcess, established: bool) -> None:
    """PS3.8 Table 9-10: AA-2 before the association, AA-3 in it."""
    with Peer(gateway.port) as peer:
        if established:
            peer.associate()
        peer.send(pdu(ABORT, bytes(4)))
        assert peer.rest() == []


# -- the end in the middle

_WHOLE = Instance("1.2.3.4.5", pixels=bytes(400_000))
_MESSAGE = _WHOLE.message()
_COMMAND = command(store_request(_WHOLE.sop))
_DATA = data(_WHOLE.encoded)


_PLACES: Final = {
    "in-header": _COMMAND[:4],
    "in-command": _COMMAND[:40],
    "after-command": _COMMAND,
    "in-data-header": _COMMAND + _DATA[:3],
    "in-first-fragment": _COMMAND + _DATA[:300],
    "between-first-fragments": _COMMAND + _DATA[: 2 * 16012],
    "between-fragments": _COMMAND + _DATA[: 15 * 16012],
    "in-fragment": _COMMAND + _DATA[: 15 * 16012 + 700],
    "before-last-byte": _COMMAND + _DATA[:-1],
}


@pytest.mark.parametrize(
    ("place", "how"),
    [
        (place, how)
        for place in _PLACES
        for how in ("rst", "fin", "abort", "release")
        # Inside a PDU these would be its content.
        if how in {"rst", "fin"} or place.startswith(("after", "between"))
    ],
)
def test_the_end_in_the_middle_of_a_file(gateway: GatewayProcess, place: str, how: str) -> None:
    ended = len(gateway.lines("association ended"))
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(_PLACES[place])
        match how:
            case "abort":
                peer.send(pdu(ABORT, bytes(4)))
            case "release":
                peer.send(RELEASE_RQ_PDU)
            case "rst":
                peer.reset()
        if how == "fin":
            peer.socket.shutdown(socket.SHUT_WR)
        if how != "rst":
            peer.rest()
    line = last_line(gateway, ended)
    assert line["instances"] == {}
    eventually(lambda: not gateway.incoming())
    assert not gateway.stored()
    assert not gateway.promised(InstanceStored)


def test_the_next_sender_is_served(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(context(1, "1.2.840.10008.5.1.4.1.1.2", EXPLICIT))
        assert peer.store(_WHOLE) == 0
        peer.release()
    assert list(gateway.stored()) == ["default/1.2.3/1.2.3.4/1.2.3.4.5.dcm"]


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_sender_that_does_not_wait_for_its_answer(gateway: GatewayProcess, how: str) -> None:
    """It was not told 0000, but its instance is whole: it is kept and told of (I7)."""
    sop = f"1.2.4.{1 + (how == 'rst')}"
    instance = Instance(sop, pixels=bytes(50_000))
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(instance.message())
        eventually(lambda: f"default/1.2.3/1.2.3.4/{sop}.dcm" in gateway.stored())
        if how == "rst":
            peer.reset()
    events = gateway.promised(InstanceStored)
    assert [one for one in events if getattr(one, "sop_instance_uid", "") == sop]
