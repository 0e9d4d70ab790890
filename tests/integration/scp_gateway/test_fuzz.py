"""Conversations that are almost right: whatever comes, the gateway ends that association only."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from struct import pack
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsless.send.pdu import RELEASE_RQ_PDU
from tests.dimse import (
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    Instance,
    Peer,
    associate_rq,
    command,
    common_extended,
    context,
    data,
    extended,
    item,
    request,
    role,
    window,
)
from tests.gateway import GatewayProcess

Start = Callable[..., GatewayProcess]

_RICH: Final = associate_rq(
    context(1, CT, EXPLICIT, IMPLICIT),
    context(3, VERIFICATION, IMPLICIT),
    context(5, "1.2.840.10008.1.20.1", IMPLICIT),
    user=role(CT, 1, 0)
    + window(8, 1)
    + extended(CT, b"\2\0\3\0\0\0")
    + common_extended(CT, "1.2.840.10008.4.2", CT)
    + item(0x58, b"\1\1\0\4user\0\0"),
)
_STORE: Final = Instance("1.2.3.4.5", pixels=bytes(300))
_ACTION: Final[dict[int, bytes | int | str]] = {
    0x0003: "1.2.840.10008.1.20.1",
    0x1001: "1.2.840.10008.1.20.1.1",
    0x1008: 1,
}
_ACTION_DATA: Final = b"\x08\0\x95\x11\4\0\0\x001.2\0\x08\0\x99\x11\0\0\0\0"
CONVERSATION: Final = [
    _RICH,
    ECHO,
    _STORE.message(),
    command(request(0x0130, data=True, more=_ACTION), 5) + data(_ACTION_DATA, 5),
    _STORE.message(),
    RELEASE_RQ_PDU,
]
_NUMBERS: Final = st.sampled_from([0, 1, 2, 3, 0x7F, 0x80, 0xFF])
_LENGTHS: Final = st.sampled_from([0, 1, 2, 5, 6, 0x7FFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF])


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    return start(GATEWAY_STORAGE_COMMITMENT="true", GATEWAY_MAX_ASSOCIATIONS_PER_ADDRESS="64")


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """The conversation, with a few mistakes."""
    parts = list(CONVERSATION)
    for _ in range(draw(st.integers(1, 4))):
        which = draw(st.integers(0, len(parts) - 1))
        part = parts[which]
        at = draw(st.integers(0, max(len(part) - 1, 0)))
        match draw(st.integers(0, 7)):
            case 0:
                parts[which] = part[:at] + bytes((draw(_NUMBERS),)) + part[at + 1 :]
            case 1:
                parts[which] = part[:at] + pack(">L", draw(_LENGTHS)) + part[at + 4 :]
            case 2:
                parts[which] = part[:at] + pack("<H", draw(_LENGTHS) & 0xFFFF) + part[at + 2 :]
            case 3:
                parts[which] = part[:at]
            case 4:
                parts[which] = part[:at] + draw(st.binary(max_size=20)) + part[at:]
            case 5:
                parts.insert(which, draw(st.sampled_from(CONVERSATION)))
            case 6 if len(parts) > 1:
                del parts[which]
            case _:
                end = draw(st.integers(at, len(part)))
                parts[which] = part[:at] + part[end:]
    return b"".join(parts)


def converse(gateway: GatewayProcess, sent: bytes) -> list[int]:
    """Say it all, then listen."""
    with Peer(gateway.port) as peer:
        peer.push(sent)
        with contextlib.suppress(OSError):  # the gateway may have hung up
            peer.socket.shutdown(socket.SHUT_WR)
        return [one.kind for one in peer.rest()]


def test_the_conversation_is_one(gateway: GatewayProcess) -> None:
    assert converse(gateway, b"".join(CONVERSATION)) == [2, 4, 4, 4, 4, 6]


@settings(
    max_examples=250,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sent=conversations())
def test_conversations_that_are_almost_right(gateway: GatewayProcess, sent: bytes) -> None:
    assert set(converse(gateway, sent)) <= {2, 3, 4, 6, 7}


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.lists(
        st.builds(
            item,
            st.sampled_from([0x10, 0x20, 0x30, 0x40, 0x50, 0x51, 0x54, 0x56, 0x57, 0x58]),
            st.recursive(
                st.binary(max_size=12),
                lambda inner: st.lists(
                    st.builds(item, st.sampled_from([0x30, 0x40, 0x51, 0x53, 0x54, 0x57]), inner),
                    max_size=3,
                ).map(lambda items: b"\1\0\0\0" + b"".join(items)),
                max_leaves=6,
            ),
        ),
        max_size=5,
    )
)
def test_associate_rqs_of_any_items(gateway: GatewayProcess, body: list[bytes]) -> None:
    whole = associate_rq()[6:] + b"".join(body)
    assert set(converse(gateway, pack(">BxL", 1, len(whole)) + whole)) <= {2, 3, 7}


def test_after_all_that_it_is_well(gateway: GatewayProcess) -> None:
    assert not [line for line in gateway.lines("association ended") if line["why"] == "bug"]
    assert not [line for line in gateway.lines("instance refused") if line["status"] == "0110"]
    assert converse(gateway, b"".join(CONVERSATION)) == [2, 4, 4, 4, 4, 6]
    # At most what a mistake made of the UIDs, and whole.
    for key, content in gateway.stored().items():
        assert key.startswith(("default/", "quarantine/default/"))
        assert content.startswith(bytes(128) + b"DICM")
