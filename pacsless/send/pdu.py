"""The messages a C-STORE SCU sends and reads: PS3.8 §9.3 and PS3.7 §9.3.1, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack, unpack_from
from typing import Final, NamedTuple

from pacsless.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

ASSOCIATE_RQ: Final = 1
ASSOCIATE_AC: Final = 2
ASSOCIATE_RJ: Final = 3
P_DATA: Final = 4
RELEASE_RQ: Final = 5
COMMAND: Final = 1
LAST: Final = 2
P_DATA_HEADER_BYTES: Final = 12
RELEASE_RQ_PDU: Final = pack(">BxLL", RELEASE_RQ, 4, 0)

_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
_OUR_MAX_PDU: Final = 16384
_STATUS: Final = 0x0900
_ERROR_COMMENT: Final = 0x0902


class Context(NamedTuple):
    """A SOP class in one transfer syntax."""

    sop_class_uid: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send to, and as whom."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout: float


class Answer(NamedTuple):
    """Status of a response, and its Error Comment."""

    status: int
    comment: str


def associate_rq(receiver: Receiver, contexts: Sequence[Context]) -> bytes:
    """Encode an A-ASSOCIATE-RQ (PS3.8 Table 9-11)."""
    user = (
        _item(0x51, pack(">L", _OUR_MAX_PDU))
        + _item(0x52, IMPLEMENTATION_CLASS_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION_NAME.encode())
    )
    body = b"".join(
        (
            pack(">HH", 1, 0),
            receiver.called_ae_title.encode("ascii", "replace")[:16].ljust(16),
            receiver.calling_ae_title.encode("ascii", "replace")[:16].ljust(16),
            bytes(32),
            _item(0x10, _APPLICATION_CONTEXT.encode()),
            *(
                _item(
                    0x20,
                    pack(">BBBB", 2 * index + 1, 0, 0, 0)
                    + _item(0x30, context.sop_class_uid.encode("ascii", "replace"))
                    + _item(0x40, context.transfer_syntax.encode("ascii", "replace")),
                )
                for index, context in enumerate(contexts)
            ),
            _item(0x50, user),
        )
    )
    return pack(">BxL", ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, value: bytes) -> bytes:
    return pack(">BxH", kind, len(value)) + value


def items(body: bytes) -> list[tuple[int, bytes]]:
    """Take variable items apart (PS3.8 Table 9-11 and after)."""
    found = []
    position = 0
    while position + 4 <= len(body):
        kind, length = unpack_from(">BxH", body, position)
        found.append((kind, body[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


def p_data_header(context_id: int, control: int, length: int) -> bytes:
    """Header of a P-DATA-TF PDU with one fragment (PS3.8 Tables 9-22 and 9-23)."""
    return pack(">BxLLBB", P_DATA, length + 6, length + 2, context_id, control)


def echo_rq(message_id: int, sop_class_uid: str) -> bytes:
    """Encode the command set of a C-ECHO-RQ (PS3.7 Table 9.3-12)."""
    elements = b"".join(
        (
            _element(0x0002, _uid(sop_class_uid)),
            _element(0x0100, pack("<H", 0x0030)),
            _element(0x0110, pack("<H", message_id)),
            _element(0x0800, pack("<H", 0x0101)),
        )
    )
    return _element(0x0000, pack("<L", len(elements))) + elements


def store_rq(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Encode the command set of a C-STORE-RQ (PS3.7 Table 9.3-1), implicit VR little endian."""
    elements = b"".join(
        (
            _element(0x0002, _uid(sop_class_uid)),
            _element(0x0100, pack("<H", 0x0001)),
            _element(0x0110, pack("<H", message_id)),
            _element(0x0700, pack("<H", 0x0000)),
            _element(0x0800, pack("<H", 0x0001)),
            _element(0x1000, _uid(sop_instance_uid)),
        )
    )
    return _element(0x0000, pack("<L", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    return pack("<HHL", 0x0000, number, len(value)) + value


def _uid(value: str) -> bytes:
    encoded = value.encode("utf-8", "replace")
    return encoded + b"\0" * (len(encoded) % 2)


def read_answer(command: bytes) -> Answer | None:
    """Read the command set of a response; None if it has no status."""
    status, comment = -1, ""
    position = 0
    while position + 8 <= len(command):
        _, number, length = unpack_from("<HHL", command, position)
        value = command[position + 8 : position + 8 + length]
        if number == _STATUS and len(value) == 2:
            (status,) = unpack_from("<H", value)
        elif number == _ERROR_COMMENT:
            comment = value.decode("ascii", "replace").strip(" \0")
        position += 8 + length
    return None if status < 0 else Answer(status, comment)
