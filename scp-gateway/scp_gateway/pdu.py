"""PDUs of the upper layer protocol, and how an exchange of them can go wrong (PS3.8 §9.3)."""

from __future__ import annotations

from enum import IntEnum
from struct import pack
from typing import Final

HEADER_BYTES: Final = 6
MAX_ASSOCIATE_BYTES: Final = 1 << 20
"""An A-ASSOCIATE-RQ with 128 contexts of all transfer syntaxes is below 200 KiB."""
PDV_HEADER_BYTES: Final = 6
"""Of a fragment in a P-DATA-TF PDU (PS3.8 §9.3.5.1)."""
SHORT_BYTES: Final = 1024
"""Of a PDU that is 4 bytes long by the Standard; more is forgiven, and much more is not."""


class PduType(IntEnum):
    """First byte of a PDU (PS3.8 §9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Reasons of an A-ABORT by the service provider (PS3.8 Table 9-26)."""

    UNSPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class HungUp(Exception):
    """The connection is over: the peer closed it, or it took too long.

    Attributes
    ----------
    why
        ``closed``, ``reset``, ``tls``, ``timeout``, ``stopped``, or that the sender aborted.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class BrokenProtocol(Exception):
    """The peer sent what it must not; the association is to be aborted.

    Attributes
    ----------
    reason
        For the A-ABORT.
    what
        For the log; a constant, never what was received.
    """

    def __init__(self, reason: AbortReason, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


RELEASE_RQ: Final = pack(">BxLL", PduType.RELEASE_RQ, 4, 0)
RELEASE_RP: Final = pack(">BxLL", PduType.RELEASE_RP, 4, 0)


def abort(reason: AbortReason | None) -> bytes:
    """Encode an A-ABORT PDU: by the service provider for `reason`, or by the service user."""
    # PS3.8 Table 9-26: source 2 or 0.
    source = 0 if reason is None else 2
    return pack(">BxLxxBB", PduType.ABORT, 4, source, reason or 0)
