"""What is agreed on when an association begins (PS3.8 §9.3, PS3.7 Annex D)."""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack

import pytest

from tests.dimse import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    MR,
    VERIFICATION,
    Accepted,
    Instance,
    Pdu,
    Peer,
    associate_rq,
    common_extended,
    context,
    extended,
    item,
    pdu,
    role,
    window,
)
from tests.gateway import GatewayProcess

Start = Callable[..., GatewayProcess]
STORAGE_SERVICE = "1.2.840.10008.4.2"
UNKNOWN = "1.2.826.0.1.3680043.9.9999.7"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    return start()


def ask(gateway: GatewayProcess, sent: bytes) -> Pdu:
    with Peer(gateway.port) as peer:
        peer.send(sent)
        return peer.read()


def agree(gateway: GatewayProcess, *contexts: bytes, user: bytes = b"") -> Accepted:
    with Peer(gateway.port) as peer:
        accepted = peer.associate(*contexts, user=user)
        peer.release()
        return accepted


# -- the association


@pytest.mark.parametrize("version", [0, 2, 0xFFFE])
def test_another_protocol_version(gateway: GatewayProcess, version: int) -> None:
    answer = ask(gateway, associate_rq(version=version))
    assert answer == Pdu(ASSOCIATE_RJ, b"\0\1\2\2"), "permanent, ACSE, protocol version"


@pytest.mark.parametrize("version", [1, 3, 0xFFFF])
def test_only_the_first_bit_counts(gateway: GatewayProcess, version: int) -> None:
    answer = ask(gateway, associate_rq(version=version))
    assert answer.kind == ASSOCIATE_AC
    assert answer.body[:2] == b"\0\1"


@pytest.mark.parametrize(
    "application", ["1.2.840.10008.3.1.1.2", "1.2.3", "1.2.840.10008.3.1.1.1.1"]
)
def test_another_application_context(gateway: GatewayProcess, application: str) -> None:
    answer = ask(gateway, associate_rq(application=application))
    assert answer == Pdu(ASSOCIATE_RJ, b"\0\1\1\2"), "permanent, user, application context"


def test_titles_and_the_reserved_field_come_back(gateway: GatewayProcess) -> None:
    sent = bytearray(associate_rq(calling="  CT  ONE"))
    sent[42:74] = bytes(range(32))
    answer = ask(gateway, bytes(sent))
    assert answer.kind == ASSOCIATE_AC
    assert answer.body[4:20] == b"PACSLESS        "
    assert answer.body[20:36].strip() == b"CT  ONE"


def test_titles_padded_with_nul_and_long_version_names(gateway: GatewayProcess) -> None:
    """As some old modalities send them."""
    with Peer(gateway.port) as peer:
        asked = associate_rq(called=b"PACSLESS" + bytes(8), calling=b"CT1" + bytes(13))
        peer.send(asked)
        assert peer.read().kind == 2
        peer.release()
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(user=item(0x55, b"A_VERSION_NAME_LONGER_THAN_16")))
        assert peer.read().kind == 2
        peer.release()


def test_items_nobody_knows_are_skipped(gateway: GatewayProcess) -> None:
    """PS3.8 §9.3.1: unrecognized items shall be ignored and skipped."""
    inside = ask(gateway, associate_rq(user=item(0x5F, b"of the future")))
    assert inside.kind == ASSOCIATE_AC
    body = associate_rq()[6:] + item(0x60, b"of the future")
    assert ask(gateway, pdu(1, body)).kind == ASSOCIATE_AC


def test_no_contexts_at_all(gateway: GatewayProcess) -> None:
    sent = associate_rq(item(0x10, b"1.2.840.10008.3.1.1.1")).replace(
        item(0x10, b"1.2.840.10008.3.1.1.1") * 2, item(0x10, b"1.2.840.10008.3.1.1.1")
    )
    assert ask(gateway, pdu(1, sent[6:])).kind != 0


def test_contexts_are_answered_one_by_one(gateway: GatewayProcess) -> None:
    accepted = agree(
        gateway,
        context(1, CT, EXPLICIT, IMPLICIT),
        context(255, "1.2.840.10008.5.1.4.1.2.2.1"),
        context(3, CT, "1.2.3.4.5"),
        context(5, CT, "1.2.3.4.5", IMPLICIT),
        context(7, VERIFICATION, IMPLICIT),
        context(9, UNKNOWN),
    )
    assert accepted.contexts[1] == (0, EXPLICIT)
    assert accepted.contexts[255][0] == 3, "abstract syntax not supported"
    assert accepted.contexts[3][0] == 4, "transfer syntaxes not supported"
    assert accepted.contexts[5] == (0, IMPLICIT)
    assert accepted.contexts[7] == (0, IMPLICIT)
    assert accepted.contexts[9][0] == 3
    assert len(accepted.contexts) == 6


def test_each_context_keeps_its_own_transfer_syntax(gateway: GatewayProcess) -> None:
    """The usual way to offer several encodings is a context for each."""
    proposed = {1: EXPLICIT, 3: IMPLICIT, 5: "1.2.840.10008.1.2.4.70", 7: BIG_ENDIAN}
    accepted = agree(gateway, *(context(one, CT, syntax) for one, syntax in proposed.items()))
    assert accepted.contexts == {one: (0, syntax) for one, syntax in proposed.items()}
    accepted = agree(
        gateway,
        context(1, CT, IMPLICIT, EXPLICIT),
        context(3, CT, EXPLICIT, IMPLICIT),
        context(5, CT, "1.2.840.10008.1.2.4.70", EXPLICIT),
    )
    assert accepted.contexts == {
        1: (0, IMPLICIT), 3: (0, EXPLICIT), 5: (0, "1.2.840.10008.1.2.4.70"),
    }  # fmt: skip


# -- roles (PS3.7 §D.3.3.4)


@pytest.mark.parametrize(
    ("scu", "scp", "result", "answer"),
    [
        (1, 0, 0, [role(CT, 1, 0)]),
        (1, 1, 0, [role(CT, 1, 0)]),
        (0, 1, 1, None),
        (0, 0, 1, None),
    ],
    ids=["scu", "both", "scp", "neither"],
)
def test_roles(
    gateway: GatewayProcess, scu: int, scp: int, result: int, answer: list[bytes] | None
) -> None:
    accepted = agree(gateway, context(1, CT), context(3, MR), user=role(CT, scu, scp))
    assert accepted.contexts[3] == (0, EXPLICIT), "nobody asked for a role in it"
    if answer is None:
        # There is no role for it to be had: not as SCP, and not as SCU if it did not ask.
        assert accepted.contexts[1][0] in {1, 2}
        assert all(value[-1:] == b"\0" for value in accepted.of(0x54))
    else:
        assert accepted.contexts[1] == (result, EXPLICIT)
        assert [item(0x54, value) for value in accepted.of(0x54)] == answer


def test_without_asking_there_is_no_role_answer(gateway: GatewayProcess) -> None:
    assert agree(gateway).of(0x54) == []


# -- extended negotiation


@pytest.mark.parametrize("asked", [b"\2\0\3\0\0\0", b"\0\0\1\0\1\0", b"", b"\2"])
def test_storage_is_level_2_without_coercion(gateway: GatewayProcess, asked: bytes) -> None:
    """PS3.4 Table B.3-1: full storage, signatures of level 3, no element is coerced."""
    accepted = agree(gateway, context(1, CT), context(3, MR), user=extended(CT, asked))
    assert [item(0x56, value) for value in accepted.of(0x56)] == [extended(CT, b"\2\0\3\0\0\0")]


def test_of_what_is_not_accepted_nothing_is_said(gateway: GatewayProcess) -> None:
    accepted = agree(
        gateway, context(1, CT), context(3, UNKNOWN), context(5, VERIFICATION),
        user=extended(UNKNOWN, b"\2\0\3\0\0\0") + extended(VERIFICATION, b"\1") + extended(MR, b""),
    )  # fmt: skip
    assert accepted.of(0x56) == []


@pytest.mark.parametrize(
    ("service", "related", "result"),
    [
        (STORAGE_SERVICE, (CT,), 0),
        (STORAGE_SERVICE, ("1.2.3.4", CT), 0),
        (STORAGE_SERVICE, (), 3),
        (STORAGE_SERVICE, ("1.2.3.4",), 3),
        ("1.2.840.10008.4.1", (CT,), 3),
    ],
    ids=["like-ct", "among-others", "like-nothing", "like-unknown", "another-service"],
)
def test_an_unknown_class_that_is_declared_as_storage(
    gateway: GatewayProcess, service: str, related: tuple[str, ...], result: int
) -> None:
    with Peer(gateway.port) as peer:
        accepted = peer.associate(
            context(1, UNKNOWN), user=common_extended(UNKNOWN, service, *related)
        )
        assert accepted.contexts[1][0] == result
        assert accepted.of(0x57) == [], "it has no answer"
        if not result:
            instance = Instance("1.2.3.4.5", sop_class=UNKNOWN)
            assert peer.store(instance) == 0


def test_a_known_class_of_another_service_is_not_made_storage(gateway: GatewayProcess) -> None:
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    accepted = agree(
        gateway, context(1, find), user=common_extended(find, STORAGE_SERVICE, CT)
    )  # fmt: skip
    assert accepted.contexts[1][0] == 3


@pytest.mark.parametrize(
    ("asked", "invoked"), [((0, 0), 16), ((1, 1), 1), ((8, 1), 8), ((100, 100), 16)]
)
def test_the_asynchronous_operations_window(
    gateway: GatewayProcess, asked: tuple[int, int], invoked: int
) -> None:
    (answer,) = agree(gateway, user=window(*asked)).of(0x53)
    assert unpack(">HH", answer) == (invoked, 1)


def test_without_a_window_there_is_none(gateway: GatewayProcess) -> None:
    assert agree(gateway).of(0x53) == []


def test_8_stores_without_waiting_are_answered_in_order(gateway: GatewayProcess) -> None:
    instances = [Instance(f"1.3.{one}", pixels=bytes(30_000 * one)) for one in range(8)]
    with Peer(gateway.port) as peer:
        peer.associate(user=window(8, 1))
        peer.send(b"".join(one.message(message_id=n) for n, one in enumerate(instances)))
        answers = [peer.response() for _ in instances]
        peer.release()
    assert [unpack("<H", one[0x0120])[0] for one in answers] == list(range(8))
    assert {unpack("<H", one[0x0900])[0] for one in answers} == {0}


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("kind", [1, 2, 3, 5])
def test_user_identities_are_ignored(gateway: GatewayProcess, kind: int, wanted: int) -> None:
    """PS3.7 §D.3.3.7: who does not support them accepts all the same, and answers nothing."""
    identity = item(0x58, bytes((kind, wanted)) + b"\0\4user\0\0")
    assert agree(gateway, user=identity).of(0x59) == []


# -- lengths


@pytest.mark.parametrize("announced", [128, 200, 4096])
def test_responses_keep_to_what_the_peer_takes(gateway: GatewayProcess, announced: int) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(max_pdu=announced)
        peer.send(Instance("1.2.x").message())
        whole = b""
        while True:
            kind, body = peer.read()
            assert kind == 4 and len(body) <= announced
            whole += body[6:]
            if body[5] & 2:
                break
        assert b"invalid-uid" in whole


@pytest.mark.parametrize("announced", [0, 1, 7, 0xFFFFFFFF])
def test_lengths_that_say_nothing(gateway: GatewayProcess, announced: int) -> None:
    with Peer(gateway.port) as peer:
        peer.associate(max_pdu=announced)
        peer.send(ECHO)
        assert peer.status() == 0
        assert peer.store(Instance("1.5.7")) == 0


def test_a_request_right_behind_the_associate_rq(gateway: GatewayProcess) -> None:
    """Impatient, and all in one segment."""
    with Peer(gateway.port) as peer:
        peer.send(associate_rq() + ECHO + Instance("1.5.8").message())
        assert peer.read().kind == ASSOCIATE_AC
        assert [peer.status(), peer.status()] == [0, 0]
