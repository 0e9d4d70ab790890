"""Attacks with DIMSE messages: endless ones, broken ones, and services nobody offers."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from struct import pack, unpack

import pytest

from pacsless.events import InstanceStored
from pacsless.send.pdu import COMMAND, LAST
from tests.dicom_files import implicit
from tests.dimse import (
    ABORT,
    CT,
    ECHO,
    EXPLICIT,
    MR,
    VERIFICATION,
    Instance,
    Peer,
    command,
    command_set,
    context,
    data,
    p_data,
    pdv,
    request,
    store_request,
)
from tests.eventually import eventually
from tests.gateway import GatewayProcess

Start = Callable[..., GatewayProcess]
_MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    return start()


@pytest.fixture(scope="module")
def capped(start: Start) -> GatewayProcess:
    """One process, so that a tenant's senders meet there."""
    return start(
        GATEWAY_PROCESSES="1",
        GATEWAY_STORAGE_COMMITMENT="true",
        GATEWAY_MAX_OBJECT_MB="3",
        GATEWAY_MAX_ASSOCIATION_MB="8",
        GATEWAY_MAX_TENANT_MB="2",
        GATEWAY_AE_TITLES="PACSLESS=default,OTHER=other",
    )


def last_why(gateway: GatewayProcess, count: int) -> object:
    """Why the association ended that ended after `count` others."""
    return eventually(lambda: gateway.lines("association ended")[count:])[0]["why"]


# -- endless


def test_an_object_without_end(capped: GatewayProcess) -> None:
    ended = len(capped.lines("association ended"))
    before = capped.peak_memory()
    with Peer(capped.port) as peer:
        peer.associate()
        peer.push(command(store_request("1.2.3")))
        fragment = p_data(pdv(1, 0, bytes(64 << 10)))
        for _ in range(256):
            peer.push(fragment)
        assert [one.kind for one in peer.rest()] == [ABORT]
    assert last_why(capped, ended) == "object-too-large"
    assert capped.peak_memory() - before < 12 * _MIB
    assert not capped.stored()


def test_an_association_without_end(capped: GatewayProcess) -> None:
    ended = len(capped.lines("association ended"))
    stored = 0
    with Peer(capped.port) as peer:
        peer.associate()
        for number in range(100):
            peer.send(Instance(f"1.2.{number}", pixels=bytes(900_000)).message())
            answer = peer.read()
            if answer.kind == ABORT:
                break
            stored += 1
    assert 7 <= stored <= 9
    assert last_why(capped, ended) == "association-too-large"


def test_a_tenants_share(capped: GatewayProcess) -> None:
    """One tenant's senders together are too much; another's are not their business."""
    large = Instance("1.3.1", pixels=bytes(1_900_000))
    message = large.message()
    with Peer(capped.port) as first, Peer(capped.port) as second, Peer(capped.port) as other:
        for peer, called in ((first, "PACSLESS"), (second, "PACSLESS"), (other, "OTHER")):
            peer.associate(called=called)
        for peer in (first, other):
            peer.send(message[:-10_000])
        eventually(lambda: len(capped.incoming()) == 2)
        eventually(lambda: sum(path.stat().st_size for path in capped.incoming()) > 3_700_000)
        assert second.store(Instance("1.3.2", pixels=bytes(1_900_000))) == 0xA700
        assert second.store(Instance("1.3.3", pixels=bytes(1000))) == 0, "it goes on"
        for peer in (first, other):
            peer.send(message[-10_000:])
            assert peer.status() == 0


@pytest.mark.parametrize(
    "endless",
    [
        p_data(pdv(1, COMMAND)),
        command(store_request("1.2.3")) + p_data(pdv(1, 0)),
        command(store_request("1.2.3")) + p_data(*[pdv(1, 0)] * 100),
        p_data(),
        command(store_request("1.2.3")) + p_data(),
    ],
    ids=["command", "data-set", "data-set-many-in-one", "no-fragment", "no-fragment-in-data-set"],
)
def test_empty_fragments(gateway: GatewayProcess, endless: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(endless)
        assert [one.kind for one in peer.rest()] == [ABORT]


def test_a_last_fragment_may_be_empty(gateway: GatewayProcess) -> None:
    """Some senders know only afterwards that a fragment was the last."""
    instance = Instance("1.5.1")
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(
            p_data(pdv(1, COMMAND, command_set(store_request(instance.sop))))
            + p_data(pdv(1, COMMAND | LAST))
            + p_data(pdv(1, 0, instance.encoded))
            + p_data(pdv(1, LAST))
        )
        assert peer.status() == 0


def test_fragments_of_one_byte(gateway: GatewayProcess) -> None:
    instance = Instance("1.5.2")
    elements = command_set(store_request(instance.sop))
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(
            b"".join(p_data(pdv(1, COMMAND, bytes((one,)))) for one in elements[:-1])
            + p_data(pdv(1, COMMAND | LAST, elements[-1:]))
            + data(instance.encoded, size=1)
        )
        assert peer.status() == 0
        everything_in_one = [
            pdv(1, COMMAND | LAST, elements),
            *(pdv(1, 0, bytes((one,))) for one in instance.encoded),
            pdv(1, LAST),
        ]
        peer.send(p_data(*everything_in_one))
        assert peer.status() == 0


# -- command sets


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(bytes(8000 * 8), id="thousands-of-elements"),
        pytest.param(implicit(0x0110, b"\1\0") * 6000, id="thousands-of-the-same"),
        pytest.param(b"".join(implicit(one, b"") for one in range(8000)), id="every-element"),
        pytest.param(implicit(0x0100, b"\x30\0", length=0xFFFFFFFF), id="undefined-length"),
        pytest.param(implicit(0x0100, b"\x30\0", length=0xFFFFFFFE), id="wild-length"),
        pytest.param(implicit(0x0100, b"\x30\0", length=3), id="one-byte-too-long"),
        pytest.param(implicit(0x00080016, CT.encode()), id="group-8"),
        pytest.param(implicit(0x00090010, b"ab"), id="private-group"),
        pytest.param(implicit(0xFFFEE000, b""), id="item"),
        pytest.param(command_set(request(0x0030))[:-3], id="truncated"),
        pytest.param(command_set({0x0100: 0x0030, 0x0110: 1}), id="no-data-set-type"),
        pytest.param(command_set({0x0110: 1, 0x0800: 0x0101}), id="no-command-field"),
        pytest.param(command_set({0x0100: b"0\0\0\0", 0x0800: 0x0101}), id="four-bytes"),
        pytest.param(command_set({0x0100: 0x8030, 0x0120: 1, 0x0800: 0x0101}), id="response"),
        pytest.param(command_set({0x0100: 0x8100, 0x0120: 1, 0x0800: 0x0101}), id="report"),
        pytest.param(b"\0", id="one-byte"),
    ],
)
def test_command_sets_that_are_none(gateway: GatewayProcess, encoded: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(1, COMMAND | LAST, encoded)))
        assert [one.kind for one in peer.rest()] == [ABORT]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(command(request(0x0030), 3), id="context-not-accepted"),
        pytest.param(command(request(0x0030), 5), id="context-not-proposed"),
        pytest.param(command(request(0x0030), 0), id="context-0"),
        pytest.param(data(b"1234"), id="data-set-first"),
        pytest.param(ECHO + data(b"1234"), id="data-set-after-a-message-without"),
        pytest.param(command(store_request("1.2")) + ECHO, id="command-in-data-set"),
        pytest.param(command(store_request("1.2")) + data(b"1234", 7), id="other-context"),
        pytest.param(
            p_data(pdv(1, COMMAND, command_set(request(0x30))[:20]), pdv(1, LAST, b"1234")),
            id="data-set-in-command",
        ),
        pytest.param(
            p_data(
                pdv(1, COMMAND, command_set(request(0x30))[:20]),
                pdv(7, COMMAND | LAST, command_set(request(0x30))[20:]),
            ),
            id="command-in-two-contexts",
        ),
        pytest.param(p_data(pdv(1, COMMAND | LAST, b"12345678", length=1)), id="length-1"),
        pytest.param(p_data(pdv(1, COMMAND | LAST, b"12345678", length=0)), id="length-0"),
        pytest.param(p_data(pdv(1, 3, b"12345678", length=0xFFFFFFFF)), id="length-4-gib"),
        pytest.param(p_data(pdv(1, 3, b"12345678", length=11)), id="longer-than-its-pdu"),
        pytest.param(p_data(pdv(1, 3, command_set(request(0x30))), b"\0\0"), id="rubbish-behind"),
    ],
)
def test_fragments_of_no_message(gateway: GatewayProcess, sent: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(context(1, CT), context(3, "1.2.840.10008.5.1.4.1.2.2.1"), context(7, MR))
        peer.send(sent)
        assert [one.kind for one in peer.rest()][-1:] == [ABORT]


# -- requests


@pytest.mark.parametrize(
    "field", [0x0010, 0x0020, 0x0021, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0000, 0x7777]
)
@pytest.mark.parametrize("has_data", [False, True])
def test_services_nobody_offers(gateway: GatewayProcess, field: int, has_data: bool) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        sent = command(request(field, message_id=4711, data=has_data))
        peer.send(sent + (data(b"\x10\0\x10\0\4\0\0\0Cana") if has_data else b""))
        answer = peer.response()
        assert unpack("<H", answer[0x0900]) == (0x0211,), "unrecognized operation"
        assert unpack("<H", answer[0x0100]) == (field | 0x8000,)
        assert unpack("<H", answer[0x0120]) == (4711,)
        assert unpack("<H", answer[0x0800]) == (0x0101,)
        assert peer.echo() == 0, "the association goes on"


def test_a_cancel_is_not_answered(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(command({0x0100: 0x0FFF, 0x0120: 1, 0x0800: 0x0101}))
        assert peer.echo() == 0


def test_an_identifier_without_end(gateway: GatewayProcess) -> None:
    before = gateway.peak_memory()
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.push(command(request(0x0020, data=True)))
        for _ in range(1000):
            peer.push(p_data(pdv(1, 0, bytes(64 << 10))))
        assert [one.kind for one in peer.rest()] in ([ABORT], [])
    assert gateway.peak_memory() - before < 24 * _MIB


def test_many_identifiers_at_once_take_no_memory(gateway: GatewayProcess) -> None:
    before = gateway.peak_memory()
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(gateway.port)) for _ in range(10)]
        for peer in peers:
            peer.associate()
            peer.send(command(request(0x0020, data=True)))
            peer.send(p_data(pdv(1, 0, bytes(64 << 10))) * 200)
            peer.send(p_data(pdv(1, LAST, b"")))
            assert peer.status() == 0x0211
    assert gateway.peak_memory() - before < 24 * _MIB


def test_an_action_on_a_context_of_something_else(capped: GatewayProcess) -> None:
    action = {**request(0x0130, data=True), 0x1008: 1}
    with Peer(capped.port) as peer:
        peer.associate(context(1, CT, EXPLICIT))
        peer.send(command(action) + p_data(pdv(1, LAST, b"")))
        assert peer.status() == 0x0211
        assert peer.echo() == 0


def test_a_message_that_never_ends_in_time(start: Start) -> None:
    """Every PDU is in time, and the message is not."""
    gateway = start(GATEWAY_MESSAGE_SECONDS="1")
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(command(store_request("1.2.3")))
        began = time.monotonic()
        while time.monotonic() - began < 120 and not select.select([peer.socket], [], [], 0.1)[0]:
            peer.push(p_data(pdv(1, 0, b"12")))
        assert [one.kind for one in peer.rest()] in ([ABORT], [])
    eventually(lambda: not gateway.incoming())
    (line,) = eventually(lambda: gateway.lines("association ended"))
    assert line["why"] == "message-too-slow"


def test_a_store_without_a_data_set(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(command({**store_request("1.2.3"), 0x0800: 0x0101}))
        assert peer.status() == 0xC000
        peer.send(command(store_request("1.2.3")) + p_data(pdv(1, LAST)))
        assert peer.status() == 0xC000, "nor with an empty one"
        assert peer.echo() == 0


@pytest.mark.parametrize("missing", [0x0002, 0x0110, 0x0700, 0x1000])
def test_a_store_that_says_too_little(gateway: GatewayProcess, missing: int) -> None:
    instance = Instance(f"1.6.{missing}")
    elements = store_request(instance.sop)
    del elements[missing]
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(command(elements) + data(instance.encoded))
        # Neither Message ID nor Priority tells what is to be stored.
        assert peer.status() == (0 if missing in {0x0110, 0x0700} else 0xC000)
        assert peer.echo() == 0


def test_a_sop_class_of_another_context(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(context(1, CT), context(3, MR))
        assert peer.store(Instance("1.7.1", sop_class=MR)) == 0xA900
        assert peer.store(Instance("1.7.1", sop_class=MR), 3) == 0
        instance = Instance("1.7.2", sop_class=MR)
        peer.send(command(store_request(instance.sop)) + data(instance.encoded))
        assert peer.status() == 0xA900, "the data set's"


@pytest.mark.parametrize("abstract", [VERIFICATION, "1.2.840.10008.1.20.1"])
def test_what_is_no_storage_is_not_stored(capped: GatewayProcess, abstract: str) -> None:
    """A context that was accepted for another service is none to store in."""
    before = len(capped.stored())
    with Peer(capped.port) as peer:
        peer.associate(context(1, abstract, EXPLICIT))
        assert peer.store(Instance("1.8.1", sop_class=abstract)) != 0
        assert peer.echo() == 0
    assert len(capped.stored()) == before


def test_pipelined_messages_are_answered_in_order(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        peer.send(
            Instance("1.9.1").message(message_id=11)
            + command(request(0x0020, message_id=12))
            + command({**store_request("1.9.2", message_id=13), 0x0800: 0x0101})
            + Instance("1.9.3").message(message_id=14)
            + command(request(0x0030, message_id=15))
        )
        answers = [peer.response() for _ in range(5)]
    assert [unpack("<H", one[0x0120])[0] for one in answers] == [11, 12, 13, 14, 15]
    assert [unpack("<H", one[0x0900])[0] for one in answers] == [0, 0x0211, 0xC000, 0, 0]


def test_message_ids_and_uids_come_back(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.associate()
        for number in (0, 1, 0xFFFF):
            peer.send(Instance("1.9.9").message(message_id=number))
            answer = peer.response()
            assert answer[0x0120] == pack("<H", number)
            assert answer[0x0002].rstrip(b"\0") == CT.encode()
            assert answer[0x1000].rstrip(b"\0") == b"1.9.9"


def test_many_at_once_are_each_whole(gateway: GatewayProcess) -> None:
    """Attackers and senders side by side, on all processes."""
    statuses: list[int] = []

    def send(number: int) -> None:
        with Peer(gateway.port) as peer:
            peer.associate()
            if number % 3 == 2:
                peer.send(command(store_request("1.2")) + p_data(pdv(1, 0, bytes(9999))))
                peer.reset()
            else:
                statuses.extend(
                    peer.store(Instance(f"1.10.{number}.{one}", pixels=bytes(one * 40_000)))
                    for one in range(5)
                )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert statuses == [0] * 40
    keys = {key for key in gateway.stored() if "/1.10." in key}
    events = {getattr(one, "file_path", "") for one in gateway.promised(InstanceStored)}
    assert len(keys) == 40 and keys <= events
