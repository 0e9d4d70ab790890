"""What a storage commitment SCU asks for: PS3.4 §J.3.2.

The Action Information is walked with `pacsless.dicom.elements`, as everything
else that comes from outside: it never recurses, and 100,000 references take
a second or two and 30 MB, where pydicom takes twelve and 200.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import Final, NamedTuple

from pacsless.dicom.elements import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    UNDEFINED,
    Element,
    Encoding,
    ScanError,
    Source,
    bad_sequence,
    item_encoding,
    next_element,
    open_data_set,
    skip_undefined,
    too_many,
    top_level,
    truncated,
)
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from pacsless.errors import InvalidIdentity, PacslessError
from pacsless.identity import valid_uid

STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class (PS3.4 §J.3.5)."""
STORAGE_COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP Instance."""
REQUEST_STORAGE_COMMITMENT: Final = 1
"""Action Type ID (PS3.4 Table J.3-1)."""
MAX_REFERENCES: Final = 100_000
MAX_INFORMATION_BYTES: Final = 20 << 20
"""No Action Information of `MAX_REFERENCES` is larger; what is may be refused unread."""

TRANSACTION_UID: Final = 0x00081195
REFERENCED_SOP_SEQUENCE: Final = 0x00081199
REFERENCED_SOP_CLASS_UID: Final = 0x00081150
REFERENCED_SOP_INSTANCE_UID: Final = 0x00081155
_ASKED: Final = (REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID)
_MAX_ELEMENTS: Final = 1_000
_MAX_ITEM_ELEMENTS: Final = 1_000_000
_MAX_UID: Final = 128
_COMMENT: Final = 64


class ActionStatus(IntEnum):
    """Status of an N-ACTION-RSP (PS3.7 §10.1.4.1.10)."""

    SUCCESS = 0x0000
    NO_SUCH_SOP_INSTANCE = 0x0112
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_SOP_CLASS = 0x0118
    NO_SUCH_ACTION = 0x0123
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, slots=True)
class Reply:
    """What an N-ACTION-RSP says: its status, and its Error Comment if it has one."""

    status: int
    comment: str = ""


class Reference(NamedTuple):
    """One item of the Referenced SOP Sequence."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """A storage commitment request; its references in the order of the sender."""

    transaction_uid: str
    references: tuple[Reference, ...]


class Declined(PacslessError):
    """The request is not taken, and this is why."""

    def __init__(self, status: ActionStatus, code: str, message: str) -> None:
        super().__init__(code, message)
        self.reply = Reply(int(status), str(self)[:_COMMENT])


def parse(
    sop_class_uid: str,
    sop_instance_uid: str,
    action_type_id: int | None,
    information: bytes,
    transfer_syntax: str,
) -> Request:
    """Read an N-ACTION-RQ.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        Requested SOP Class and Instance UID.
    action_type_id
        Action Type ID, or None if it is missing.
    information
        Action Information; empty if there is none.
    transfer_syntax
        Of the presentation context: Implicit or Explicit VR Little Endian.

    Raises
    ------
    Declined
        If it is not a storage commitment request that can be read.
    """
    if sop_class_uid != STORAGE_COMMITMENT:
        raise Declined(
            ActionStatus.NO_SUCH_SOP_CLASS, "sop-class", "Storage Commitment Push Model is"
        )
    if sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise Declined(ActionStatus.NO_SUCH_SOP_INSTANCE, "sop-instance", "ask the well-known one")
    if action_type_id != REQUEST_STORAGE_COMMITMENT:
        raise Declined(ActionStatus.NO_SUCH_ACTION, "action", "the only Action Type ID is 1")
    if transfer_syntax not in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN):
        raise _invalid("transfer-syntax", "Little Endian is")
    if len(information) > MAX_INFORMATION_BYTES:
        raise _too_large()
    try:
        return _read(information, transfer_syntax)
    except ScanError as error:
        raise _invalid(error.code, "the Action Information cannot be read") from None
    except InvalidIdentity as error:
        raise _invalid(error.code, error.message.partition(":")[0]) from None


def _read(information: bytes, transfer_syntax: str) -> Request:
    source, encoding = open_data_set(BytesIO(information), 0, transfer_syntax, 0)
    transaction: str | None = None
    references: tuple[Reference, ...] | None = None
    # Of two equal tags the first counts (DECISIONS.md 23).
    for element in top_level(source, encoding, _MAX_ELEMENTS):
        if element.tag == TRANSACTION_UID and transaction is None:
            transaction = _uid(source, element)
        elif element.tag == REFERENCED_SOP_SEQUENCE and references is None:
            references = tuple(_references(source, element, encoding))
    if transaction is None:
        raise _invalid("transaction-uid", "there is no Transaction UID")
    if not references:
        raise _invalid("references", "the Referenced SOP Sequence is empty")
    return Request(
        valid_uid(transaction, "TransactionUID"),
        references,
    )


def _references(source: Source, sequence: Element, outer: Encoding) -> Iterator[Reference]:
    encoding = item_encoding(source, sequence.offset, sequence.vr, outer)
    end = None if sequence.length == UNDEFINED else sequence.offset + sequence.length
    position = sequence.offset
    # A sender repeats few SOP classes, and a string costs more than a reference.
    classes: dict[str, str] = {}
    budget = _MAX_ITEM_ELEMENTS
    count = 0
    while end is None or position < end:
        item = _next(source, position, encoding)
        if item.tag == SEQUENCE_DELIMITER and end is None:
            return
        if item.tag != ITEM:
            raise bad_sequence(item)
        count += 1
        if count > MAX_REFERENCES:
            raise _too_large()
        found, position, used = _item(source, item, encoding, budget)
        budget -= used
        sop_class, sop_instance = (found.get(tag) for tag in _ASKED)
        if sop_class is None or sop_instance is None:
            raise _invalid("reference", "a reference lacks one of its two UIDs")
        if sop_class not in classes:
            classes[sop_class] = valid_uid(sop_class, "ReferencedSOPClassUID")
        yield Reference(classes[sop_class], valid_uid(sop_instance, "ReferencedSOPInstanceUID"))
    if end is not None and position != end:
        raise ScanError("invalid-length", "an item passes its sequence")


def _item(
    source: Source, item: Element, encoding: Encoding, budget: int
) -> tuple[dict[int, str], int, int]:
    """Read one item; return its UIDs, where it ends and how many elements it has."""
    end = None if item.length == UNDEFINED else item.offset + item.length
    position = item.offset
    found: dict[int, str] = {}
    for used in range(budget):
        if position == end:
            return found, position, used
        element = _next(source, position, encoding)
        if element.tag == ITEM_DELIMITER and end is None:
            return found, element.offset, used
        if element.length == UNDEFINED:
            position = skip_undefined(source, element, encoding)
        else:
            if element.tag in _ASKED and element.tag not in found:
                found[element.tag] = _uid(source, element)
            position = element.offset + element.length
        if end is not None and position > end:
            raise ScanError("invalid-length", "an element passes its item")
    raise too_many(_MAX_ITEM_ELEMENTS)


def _next(source: Source, position: int, encoding: Encoding) -> Element:
    element = next_element(source, position, encoding)
    if element is None:
        raise truncated(position)
    return element


def _uid(source: Source, element: Element) -> str:
    """Read a UID, or "" for what cannot be one."""
    if element.length > _MAX_UID:
        return ""
    # Latin-1 knows every byte; what is no digit is refused with the rest.
    return source.read(element.offset, element.length).decode("latin-1").rstrip("\0 ")


def _invalid(code: str, message: str) -> Declined:
    return Declined(ActionStatus.INVALID_ARGUMENT, code, message)


def _too_large() -> Declined:
    return Declined(
        ActionStatus.RESOURCE_LIMITATION, "too-large", f"at most {MAX_REFERENCES} references"
    )
