"""A peer that says what it likes: PDUs and command sets by hand (PS3.8 §9.3, PS3.7 §6.3)."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import pack, unpack, unpack_from
from types import TracebackType
from typing import Final, NamedTuple, Self

from pacsless.send.pdu import COMMAND, LAST, P_DATA, RELEASE_RQ_PDU, items
from tests.dicom_files import element, implicit

CT: Final = "1.2.840.10008.5.1.4.1.1.2"
MR: Final = "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION: Final = "1.2.840.10008.1.1"
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
RELEASE_RQ, RELEASE_RP, ABORT = 5, 6, 7

CALLED: Final = "PACSLESS"
SECONDS: Final = 30.0
"""How long a peer waits for anything."""


class Pdu(NamedTuple):
    """Type and body of a PDU."""

    kind: int
    body: bytes


def pdu(kind: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    """Write a PDU; ``length`` lies about it."""
    return pack(">BxL", kind, len(body) if length is None else length) + body


def item(kind: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """Write an item or a sub-item; ``length`` lies about it."""
    return pack(">BxH", kind, len(value) if length is None else length) + value


def context(number: int = 1, abstract: str = CT, *transfer: str) -> bytes:
    """Write a proposed presentation context (PS3.8 Table 9-13)."""
    subs = [item(0x30, abstract.encode()), *(item(0x40, one.encode()) for one in transfer)]
    if not transfer:
        subs.append(item(0x40, EXPLICIT.encode()))
    return item(0x20, pack(">B3x", number) + b"".join(subs))


def maximum_length(value: int) -> bytes:
    """Write a Maximum Length sub-item (PS3.8 Table D.1-1)."""
    return item(0x51, pack(">L", value))


def role(abstract: str, scu: int, scp: int) -> bytes:
    """Write an SCP/SCU Role Selection sub-item (PS3.7 Table D.3-9)."""
    uid = abstract.encode()
    return item(0x54, pack(">H", len(uid)) + uid + bytes((scu, scp)))


def window(invoked: int, performed: int) -> bytes:
    """Write an Asynchronous Operations Window sub-item (PS3.7 Table D.3-7)."""
    return item(0x53, pack(">HH", invoked, performed))


def extended(abstract: str, information: bytes) -> bytes:
    """Write a SOP Class Extended Negotiation sub-item (PS3.7 Table D.3-11)."""
    uid = abstract.encode()
    return item(0x56, pack(">H", len(uid)) + uid + information)


def common_extended(abstract: str, service: str, *related: str) -> bytes:
    """Write a SOP Class Common Extended Negotiation sub-item (PS3.7 Table D.3-12)."""
    others = b"".join(_counted(one) for one in related)
    return item(0x57, _counted(abstract) + _counted(service) + pack(">H", len(others)) + others)


def _counted(uid: str) -> bytes:
    return pack(">H", len(uid)) + uid.encode()


def associate_rq(
    *contexts: bytes,
    called: str | bytes = CALLED,
    calling: str | bytes = "RAW",
    version: int = 1,
    application: str = APPLICATION_CONTEXT,
    user: bytes = b"",
    max_pdu: int = 16384,
) -> bytes:
    """Write an A-ASSOCIATE-RQ (PS3.8 Table 9-11); ``user`` are more sub-items."""
    titles = [
        (one.encode() if isinstance(one, str) else one).ljust(16)[:16] for one in (called, calling)
    ]
    return pdu(
        ASSOCIATE_RQ,
        pack(">HH", version, 0)
        + b"".join(titles)
        + bytes(32)
        + item(0x10, application.encode())
        + b"".join(contexts or (context(),))
        + item(0x50, maximum_length(max_pdu) + item(0x52, b"1.2.3.4") + user),
    )


def pdv(context_id: int, control: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """Write a fragment (PS3.8 Table 9-23); ``length`` lies about it."""
    size = len(value) + 2 if length is None else length
    return pack(">LBB", size, context_id, control) + value


def p_data(*fragments: bytes) -> bytes:
    """Write a P-DATA-TF."""
    return pdu(P_DATA, b"".join(fragments))


def command(elements: Mapping[int, bytes | int | str], context_id: int = 1) -> bytes:
    """Write a command set of group 0000 as one P-DATA-TF; integers are US."""
    return p_data(pdv(context_id, COMMAND | LAST, command_set(elements)))


def command_set(elements: Mapping[int, bytes | int | str]) -> bytes:
    """Write a command set."""
    encoded = b"".join(implicit(number, _value(value)) for number, value in elements.items())
    return implicit(0, pack("<L", len(encoded))) + encoded


def _value(value: bytes | int | str) -> bytes:
    if isinstance(value, int):
        return pack("<H", value)
    encoded = value.encode() if isinstance(value, str) else value
    return encoded + b"\0" * (len(encoded) % 2)


def request(
    field: int,
    sop_class: str = CT,
    *,
    message_id: int = 1,
    data: bool = False,
    more: Mapping[int, bytes | int | str] | None = None,
) -> dict[int, bytes | int | str]:
    """Elements of a request."""
    return {
        0x0002: sop_class,
        0x0100: field,
        0x0110: message_id,
        0x0800: 0x0001 if data else 0x0101,
        **(more or {}),
    }


def store_request(
    sop_instance: bytes | str, sop_class: bytes | str = CT, message_id: int = 1
) -> dict[int, bytes | int | str]:
    """Elements of a C-STORE-RQ (PS3.7 Table 9.3-1)."""
    return {
        0x0002: sop_class,
        0x0100: 0x0001,
        0x0110: message_id,
        0x0700: 0,
        0x0800: 0x0001,
        0x1000: sop_instance,
    }


ECHO: Final = command(request(0x0030, VERIFICATION))


def data(content: bytes, context_id: int = 1, size: int = 16000) -> bytes:
    """Write a data set, cut into fragments of a P-DATA-TF each."""
    starts = range(0, len(content), size)
    return b"".join(
        p_data(pdv(context_id, LAST if one == starts[-1] else 0, content[one : one + size]))
        for one in starts
    )


@dataclass(frozen=True, slots=True)
class Instance:
    """A data set in Explicit VR Little Endian, and what a command says of it."""

    sop: bytes | str
    study: bytes | str = "1.2.3"
    series: bytes | str = "1.2.3.4"
    sop_class: bytes | str = CT
    pixels: bytes = b"\1\2\3\4"

    @property
    def encoded(self) -> bytes:
        """The data set."""
        return b"".join(
            element(tag, vr, _value(value))
            for tag, vr, value in (
                (0x00080016, "UI", self.sop_class),
                (0x00080018, "UI", self.sop),
                (0x00100010, "PN", b"Canary^Name "),
                (0x0020000D, "UI", self.study),
                (0x0020000E, "UI", self.series),
                (0x7FE00010, "OB", self.pixels),
            )
        )

    def message(self, context_id: int = 1, message_id: int = 1) -> bytes:
        """Write the whole C-STORE-RQ."""
        elements = store_request(self.sop, self.sop_class, message_id)
        return command(elements, context_id) + data(self.encoded, context_id)


class Accepted:
    """An A-ASSOCIATE-AC."""

    def __init__(self, body: bytes) -> None:
        found = items(body[68:])
        self.contexts = {
            value[0]: (value[2], items(value[4:])[0][1].decode())
            for kind, value in found
            if kind == 0x21
        }
        """Result and transfer syntax by identifier."""
        self.user = [one for kind, value in found if kind == 0x50 for one in items(value)]
        """Sub-items of the user information."""

    def of(self, kind: int) -> list[bytes]:
        """Values of the sub-items of a kind."""
        return [value for one, value in self.user if one == kind]


class Peer:
    """A connection. Use it as a context manager: it hangs up at the end.

    Parameters
    ----------
    port
        Of the gateway.
    source
        Address to come from.
    tls
        How to speak TLS, if so.
    """

    def __init__(
        self, port: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), SECONDS, source_address=(source, 0)
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, suppress_ragged_eofs=False)
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Hang up with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        self.socket.close()

    def send(self, sent: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(sent)

    def push(self, sent: bytes) -> None:
        """Send bytes to somebody who may have hung up already."""
        try:
            self.socket.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            return

    def trickle(self, sent: bytes, pause: float = 0.1) -> int:
        """Send a byte at a time until the other end says something; return how many."""
        for count in range(len(sent)):
            if select.select([self.socket], [], [], pause)[0]:
                return count
            self.push(sent[count : count + 1])
        return len(sent)

    def read(self) -> Pdu:
        """Read a PDU; of type 0 at the end of the connection."""
        header = self._exactly(6)
        if len(header) < 6:
            return Pdu(0, b"")
        kind, length = unpack(">BxL", header)
        return Pdu(kind, self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            try:
                more = self.socket.recv(count - len(got))
            except ConnectionResetError:
                return b""
            if not more:
                return b""
            got += more
        return got

    def rest(self) -> list[Pdu]:
        """Read until the other end hangs up."""
        return list(iter(self.read, Pdu(0, b"")))

    def associate(self, *contexts: bytes, **how: str | bytes | int) -> Accepted:
        """Ask for an association and get it."""
        self.send(associate_rq(*contexts, **how))  # type: ignore[arg-type]
        kind, body = self.read()
        assert kind == ASSOCIATE_AC, (kind, body)
        return Accepted(body)

    def fragments(self) -> Iterator[tuple[int, int, bytes]]:
        """Read fragments: context, control and value."""
        while True:
            kind, body = self.read()
            assert kind == P_DATA, (kind, body)
            position = 0
            while position < len(body):
                length, context_id, control = unpack_from(">LBB", body, position)
                yield context_id, control, body[position + 6 : position + 4 + length]
                position += 4 + length

    def response(self) -> dict[int, bytes]:
        """Read the command set of the next response."""
        encoded = b""
        for _, control, value in self.fragments():
            assert control & COMMAND
            encoded += value
            if control & LAST:
                break
        found: dict[int, bytes] = {}
        position = 0
        while position < len(encoded):
            group, number, length = unpack_from("<HHL", encoded, position)
            assert group == 0
            found[number] = encoded[position + 8 : position + 8 + length]
            position += 8 + length
        return found

    def status(self) -> int:
        """Read the status of the next response."""
        return int(unpack("<H", self.response()[0x0900])[0])

    def store(self, instance: Instance, context_id: int = 1) -> int:
        """Send an instance; return its status."""
        self.send(instance.message(context_id))
        return self.status()

    def echo(self) -> int:
        """Send a C-ECHO-RQ in the first context; return its status."""
        self.send(ECHO)
        return self.status()

    def release(self) -> None:
        """Release the association in order."""
        self.send(RELEASE_RQ_PDU)
        assert self.read().kind == RELEASE_RP
