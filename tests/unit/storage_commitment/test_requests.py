"""Requests as they come, and results as they go."""

from __future__ import annotations

import time
from io import BytesIO

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import decode, encode
from scp_gateway.storage_commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Reference,
)
from scp_gateway.storage_commitment.report import event_information, event_type_id, has_arrived
from scp_gateway.storage_commitment.request import Declined, Request, parse

from tests.dicom_files import UNDEFINED, element, implicit, item, sequence
from tests.unit.storage_commitment.parts import (
    CANARY,
    CT,
    SYNTAXES,
    TRANSACTION,
    information,
    pairs,
    references,
)


def read(content: bytes, transfer_syntax: str = ImplicitVRLittleEndian) -> Request:
    return parse(STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, 1, content, transfer_syntax)


def declined(content: bytes, transfer_syntax: str = ImplicitVRLittleEndian) -> int:
    """Status of a request that must be declined, briefly, quickly and without quoting it."""
    begun = time.process_time()
    with pytest.raises(Declined) as error:
        read(content, transfer_syntax)
    assert time.process_time() - begun < 10
    reply = error.value.reply
    assert 0 < len(reply.comment) <= 64 and reply.comment.isascii()
    assert CANARY.decode() not in str(error.value)
    return reply.status


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_a_request_is_read_as_pydicom_writes_it(transfer_syntax: str, undefined: bool) -> None:
    asked = references(5)
    content = information(asked, transfer_syntax, undefined=undefined)
    assert read(content, transfer_syntax) == Request(TRANSACTION, asked)


def test_other_attributes_are_passed_over() -> None:
    uids = implicit(0x00081150, CT.encode() + b"\0") + implicit(0x00081155, b"1.2\0")
    nested = implicit(0x00081199, item(uids))
    reference = uids + implicit(0x00880130, b"FILESET ") + implicit(0x00091001, nested)
    content = (
        implicit(0x00080054, b"ELSEWHERE ")
        + implicit(0x00081111, item(uids))
        + implicit(0x00081195, b"1.2.3 ")
        + implicit(0x00081199, item(reference) + item(uids, undefined=True))
        + implicit(0x00081195, b"9.9.9\0")
    )
    assert read(content) == Request("1.2.3", (Reference(CT, "1.2"),) * 2)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
def test_every_truncation_is_declined(transfer_syntax: str) -> None:
    for undefined in (False, True):
        content = information(references(2), transfer_syntax, undefined=undefined)
        for size in range(len(content)):
            assert declined(content[:size], transfer_syntax) == 0x0115


def opened(tag: int) -> bytes:
    """A sequence and an item of undefined length, and no end of either."""
    return implicit(tag, implicit(0xFFFEE000, b"", length=UNDEFINED), length=UNDEFINED)


CLOSED = implicit(0xFFFEE00D, b"") + implicit(0xFFFEE0DD, b"")


def test_depth_costs_nothing() -> None:
    uid = implicit(0x00081195, b"1.2\0")
    assert declined(uid + opened(0x00081199) * 200_000) == 0x0115
    assert declined(uid + opened(0x00081199) * 10_000 + CLOSED * 10_000) == 0x0115
    # Where nobody looks it does no harm.
    private = opened(0x00091001) * 10_000 + CLOSED * 10_000
    assert read(information(references(1)) + private).references == references(1)


UID_ = implicit(0x00081195, b"1.2\0")
CLASS = implicit(0x00081150, CT.encode() + b"\0")
INSTANCE = implicit(0x00081155, b"1.2.3\0")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        CANARY * 100,
        UID_,
        UID_ + implicit(0x00081199, b""),
        implicit(0x00081199, item(CLASS + INSTANCE)),
        implicit(0x00081195, b"") + implicit(0x00081199, item(CLASS + INSTANCE)),
        UID_ + implicit(0x00081199, item(CLASS)),
        UID_ + implicit(0x00081199, item(INSTANCE)),
        UID_ + implicit(0x00081199, item(b"")),
        UID_ + implicit(0x00081199, CLASS),
        UID_ + implicit(0x00081199, item(CLASS + INSTANCE), length=90_000),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"1.2.", length=4_000))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"../../etc/passwd"))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"1.2\\1.3\0"))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"1.2\0.3\0"))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"1" * 66))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, b"1." * 2_000))),
        UID_ + implicit(0x00081199, item(CLASS + implicit(0x00081155, CANARY))),
        UID_ + implicit(0x00081199, item(implicit(0x00081150, CANARY) + INSTANCE)),
        implicit(0x00081195, CANARY) + implicit(0x00081199, item(CLASS + INSTANCE)),
        implicit(0x00081195, b"\xff\xfe") + implicit(0x00081199, item(CLASS + INSTANCE)),
        UID_ + implicit(0x00081199, item(CLASS + INSTANCE)[:-2] + item(CLASS + INSTANCE)),
        implicit(0x00090001, b"") * 2_000,
    ],
)
def test_what_is_no_request_is_declined(content: bytes) -> None:
    assert declined(content) == 0x0115


def test_ten_thousand_references_are_read_and_answered_quickly() -> None:
    content = information(references(10_000))
    begun = time.process_time()
    request = read(content)
    told = event_information(
        request.transaction_uid, request.references, {1: 0x0112}, ImplicitVRLittleEndian
    )
    assert time.process_time() - begun < 2
    assert request.references == references(10_000)
    assert len(told) > 500_000


def test_more_than_a_hundred_thousand_references_are_too_many() -> None:
    one = item(CLASS + INSTANCE)
    assert len(read(UID_ + implicit(0x00081199, one * 100_000)).references) == 100_000
    assert declined(UID_ + implicit(0x00081199, one * 100_001)) == 0x0213
    assert declined(bytes((20 << 20) + 1)) == 0x0213


def test_an_item_of_a_million_elements_is_given_up() -> None:
    filler = implicit(0x00091001, b"")
    assert declined(UID_ + implicit(0x00081199, item(filler * 1_100_000))) == 0x0115


@pytest.mark.parametrize(
    ("sop_class", "sop_instance", "action", "status"),
    [
        ("1.2.840.10008.1.20.2", STORAGE_COMMITMENT_INSTANCE, 1, 0x0118),
        (STORAGE_COMMITMENT, "1.2.840.10008.1.20.2.1", 1, 0x0112),
        (STORAGE_COMMITMENT, "", 1, 0x0112),
        (STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, 2, 0x0123),
        (STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, None, 0x0123),
    ],
)
def test_what_is_asked_of_something_else(
    sop_class: str, sop_instance: str, action: int | None, status: int
) -> None:
    content = information(references(1))
    with pytest.raises(Declined) as error:
        parse(sop_class, sop_instance, action, content, ImplicitVRLittleEndian)
    assert error.value.reply.status == status
    assert error.value.reply.comment


def test_explicit_elements_of_a_deflated_or_big_endian_context_are_not_read() -> None:
    content = information(references(1), ExplicitVRLittleEndian)
    assert declined(content, "1.2.840.10008.1.2.1.99") == 0x0115
    assert declined(content, "1.2.840.10008.1.2.2") == 0x0115


def test_unknown_vrs_and_un_sequences_are_walked() -> None:
    uids = implicit(0x00081150, CT.encode() + b"\0") + implicit(0x00081155, b"1.2\0")
    content = element(0x00081195, "UI", b"1.2.3\0") + element(0x00081199, "UN", item(uids))
    assert read(content, ExplicitVRLittleEndian).references == (Reference(CT, "1.2"),)
    known = element(0x00081150, "UI", CT.encode() + b"\0") + element(0x00081155, "UI", b"1.2\0")
    content = element(0x00081195, "UI", b"1.2.3\0") + sequence(0x00081199, item(known))
    assert read(content, ExplicitVRLittleEndian).references == (Reference(CT, "1.2"),)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
@pytest.mark.parametrize("failures", [{}, {0: 0x0112, 3: 0x0110}, dict.fromkeys(range(5), 0x0131)])
def test_a_result_is_what_pydicom_would_write(
    transfer_syntax: str, failures: dict[int, int]
) -> None:
    asked = references(5)
    told = event_information(TRANSACTION, asked, failures, transfer_syntax)
    is_implicit = transfer_syntax == ImplicitVRLittleEndian
    data_set = decode(BytesIO(told), is_implicit, True)
    assert data_set.TransactionUID == TRANSACTION
    committed = [one for n, one in enumerate(asked) if n not in failures]
    assert pairs(data_set, "ReferencedSOPSequence") == committed
    assert ("ReferencedSOPSequence" in data_set) == bool(committed)
    assert pairs(data_set, "FailedSOPSequence") == [asked[n] for n in failures]
    assert ("FailedSOPSequence" in data_set) == bool(failures)
    assert [one.FailureReason for one in data_set.get("FailedSOPSequence", [])] == list(
        failures.values()
    )
    assert encode(data_set, is_implicit, True) == told
    assert event_type_id(failures) == (2 if failures else 1)


def test_which_statuses_say_that_a_report_has_arrived() -> None:
    assert all(has_arrived(status) for status in (0x0000, 0x0001, 0x0107, 0x0116, 0xB000, 0xBFFF))
    assert not any(has_arrived(status) for status in (None, 0x0110, 0x0112, 0xA700, 0xC000, 0xFE00))
