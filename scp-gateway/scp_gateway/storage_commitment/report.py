"""The result of a request: PS3.4 §J.3.3, and PS3.3 §C.14 for the failures.

The Event Information is packed here: two sequences of UIDs are not worth the
seconds that pydicom takes for 100,000 items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from struct import pack
from typing import Final

from pacsless.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from scp_gateway.storage_commitment.request import (
    REFERENCED_SOP_CLASS_UID,
    REFERENCED_SOP_INSTANCE_UID,
    REFERENCED_SOP_SEQUENCE,
    TRANSACTION_UID,
    Reference,
)

COMMITTED: Final = 1
"""Event Type ID of a request whose every instance is committed (PS3.4 Table J.3-2)."""
FAILURES_EXIST: Final = 2
"""Event Type ID of any other."""

_FAILURE_REASON: Final = 0x00081197
_FAILED_SOP_SEQUENCE: Final = 0x00081198
_ITEM: Final = 0xFFFEE000
# Attribute list error and out of range are warnings (PS3.7 Annex C), as all of
# Bxxx are: the report has arrived.
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})

_Write = Callable[[int, bytes], bytes]


class FailureReason(IntEnum):
    """Failure Reason (0008,1197): PS3.3 §C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_TRANSACTION_UID = 0x0131


def event_type_id(failures: Mapping[int, int]) -> int:
    """Event Type ID of a result."""
    return FAILURES_EXIST if failures else COMMITTED


def event_information(
    transaction_uid: str,
    references: Sequence[Reference],
    failures: Mapping[int, int],
    transfer_syntax: str,
) -> bytes:
    """Encode the Event Information of an N-EVENT-REPORT-RQ.

    Parameters
    ----------
    transaction_uid
        As in the request.
    references
        As in the request, whose order is kept.
    failures
        Failure Reason of those that are not committed, by their position in `references`.
    transfer_syntax
        Implicit or Explicit VR Little Endian.
    """
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    uid, sequence, number = (
        (_implicit, _implicit, _implicit)
        if implicit
        else (_explicit_ui, _explicit_sq, _explicit_us)
    )
    # One element of each SOP class is enough: senders repeat them.
    classes: dict[str, bytes] = {}
    committed: list[bytes] = []
    failed: list[bytes] = []
    for index, (sop_class, sop_instance) in enumerate(references):
        head = classes.get(sop_class)
        if head is None:
            head = classes[sop_class] = uid(REFERENCED_SOP_CLASS_UID, _padded(sop_class))
        value = head + uid(REFERENCED_SOP_INSTANCE_UID, _padded(sop_instance))
        reason = failures.get(index)
        if reason is None:
            committed.append(_item(value))
        else:
            failed.append(_item(value + number(_FAILURE_REASON, pack("<H", reason))))
    found = [uid(TRANSACTION_UID, _padded(transaction_uid))]
    found += _sequence(_FAILED_SOP_SEQUENCE, failed, sequence)
    found += _sequence(REFERENCED_SOP_SEQUENCE, committed, sequence)
    return b"".join(found)


def has_arrived(status: int | None) -> bool:
    """Whether the SCU's status says that it has taken the report (PS3.7 Annex C)."""
    return status is not None and (status == 0 or status in _WARNINGS or 0xB000 <= status <= 0xBFFF)


def _sequence(tag: int, items: Iterable[bytes], write: _Write) -> list[bytes]:
    """Type 1C (PS3.4 Table J.3-2): a sequence without items is left out."""
    value = b"".join(items)
    return [write(tag, value)] if value else []


def _padded(uid: str) -> bytes:
    value = uid.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def _item(value: bytes) -> bytes:
    return _implicit(_ITEM, value)


def _implicit(tag: int, value: bytes) -> bytes:
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def _explicit_ui(tag: int, value: bytes) -> bytes:
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UI", len(value)) + value


def _explicit_us(tag: int, value: bytes) -> bytes:
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"US", len(value)) + value


def _explicit_sq(tag: int, value: bytes) -> bytes:
    return pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, b"SQ", len(value)) + value
