"""Command sets of DIMSE messages: PS3.7 §6.3.1, Annex E; Implicit VR Little Endian, always."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from struct import pack, unpack, unpack_from
from typing import Final

from scp_gateway.pdu import PDV_HEADER_BYTES, AbortReason, BrokenProtocol, PduType

MAX_COMMAND_BYTES: Final = 64 << 10
"""A C-STORE-RQ's command set is some 200 bytes."""
NO_DATA_SET: Final = 0x0101
COMMAND: Final = 1
LAST: Final = 2
"""Bits of the Message Control Header (PS3.8 §E.2)."""

# What senders announce as their maximum is believed down to this: below it, a
# response of a few hundred bytes would be cut into thousands.
_LEAST_MAX_PDU: Final = 128


class Element(IntEnum):
    """Elements of group 0000 (PS3.7 Table E.1-1) that are used here."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008


class Command(IntEnum):
    """Command Field (0000,0100) (PS3.7 Table E.1-1); a response has bit 15."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130


RESPONSE: Final = 0x8000


class CommandSet:
    """A command set that was received.

    Parameters
    ----------
    encoded
        Its bytes.

    Raises
    ------
    BrokenProtocol
        If they are none.
    """

    __slots__ = ("_values",)

    def __init__(self, encoded: bytes | bytearray | memoryview) -> None:
        self._values: dict[int, bytes] = {}
        position, end = 0, len(encoded)
        while position < end:
            try:
                group, number, length = unpack_from("<HHL", encoded, position)
            except struct.error:
                raise _broken() from None
            position += 8
            if group or length > end - position:
                raise _broken()
            self._values[number] = bytes(encoded[position : position + length])
            position += length

    def number(self, element: Element) -> int | None:
        """Value of a US element, or None."""
        value = self._values.get(element, b"")
        return int(unpack("<H", value)[0]) if len(value) == 2 else None

    def uid(self, element: Element) -> str:
        """Value of a UI element, as sent, less its padding; not known to be a UID."""
        value = self._values.get(element, b"")
        return value.rstrip(b"\0 ").decode("ascii", "replace")

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        kind = self.number(Element.COMMAND_DATA_SET_TYPE)
        if kind is None:
            raise _broken()
        return kind != NO_DATA_SET


def _broken() -> BrokenProtocol:
    return BrokenProtocol(AbortReason.INVALID_PARAMETER, "a command set that is none")


def command_set(values: Mapping[Element, int | str]) -> bytes:
    """Encode a command set; what is empty is left out."""
    elements = b"".join(
        _element(number, value) for number, value in sorted(values.items()) if value != ""
    )
    return pack("<HHLL", 0, 0, 4, len(elements)) + elements


def _element(number: Element, value: int | str) -> bytes:
    if isinstance(value, int):
        return pack("<HHLH", 0, number, 2, value)
    encoded = value.encode("ascii", "replace")
    if len(encoded) % 2:
        # PS3.5 §6.2: UIDs are padded with NUL, text with a space.
        encoded += b" " if number == Element.ERROR_COMMENT else b"\0"
    return pack("<HHL", 0, number, len(encoded)) + encoded


def response(
    command: CommandSet, status: int, comment: str = "", **values: int | str
) -> dict[Element, int | str]:
    """Values of the response to a request.

    Parameters
    ----------
    command
        The request.
    status, comment
        (0000,0900), and (0000,0902) cut to its 64 characters.
    **values
        More, by the names of `Element`.
    """
    return {
        Element.COMMAND_FIELD: (command.number(Element.COMMAND_FIELD) or 0) | RESPONSE,
        Element.MESSAGE_ID_BEING_RESPONDED_TO: command.number(Element.MESSAGE_ID) or 0,
        Element.COMMAND_DATA_SET_TYPE: NO_DATA_SET,
        Element.STATUS: status,
        Element.ERROR_COMMENT: comment[:64],
        **{Element[name.upper()]: value for name, value in values.items()},
    }


def message(context_id: int, command: bytes, data_set: bytes, max_pdu: int) -> bytes:
    """P-DATA-TF PDUs of a message (PS3.8 §9.3.5), each with one fragment.

    Parameters
    ----------
    context_id
        Of the presentation context.
    command, data_set
        Encoded; no data set if empty.
    max_pdu
        What the peer announced; 0 for no limit.
    """
    room = max(max_pdu, _LEAST_MAX_PDU) - PDV_HEADER_BYTES if max_pdu else 1 << 20
    room &= ~1  # PS3.8 Annex E.1: fragments are of even length
    pdus = []
    for control, encoded in ((COMMAND, command), (0, data_set)):
        for start in range(0, len(encoded), room):
            fragment = encoded[start : start + room]
            last = LAST if start + room >= len(encoded) else 0
            pdus.append(
                pack(
                    ">BxLLBB",
                    PduType.P_DATA,
                    len(fragment) + PDV_HEADER_BYTES,
                    len(fragment) + 2,
                    context_id,
                    control | last,
                )
                + fragment
            )
    return b"".join(pdus)
