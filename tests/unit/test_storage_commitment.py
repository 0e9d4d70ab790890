"""Storage commitment: requests, results, transactions over crashes, delivery to a real SCU."""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode, encode
from scp_gateway.answers import Sender
from scp_gateway.application_entities import Remote
from scp_gateway.storage_commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Checker,
    Deliverer,
    Reference,
    StorageCommitmentService,
    Transactions,
)
from scp_gateway.storage_commitment.commitment import Damaged
from scp_gateway.storage_commitment.report import event_information, event_type_id, has_arrived
from scp_gateway.storage_commitment.request import Declined, Request, parse
from scp_gateway.storage_commitment.transactions import Held

from pacsless.archive.files import FileArchive
from pacsless.errors import Unavailable
from tests.certificates import Authority
from tests.dicom_files import UNDEFINED, element, implicit, item, sequence
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
TRANSACTION = "1.2.3.4.5.6"
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
SENDER = Sender("default", "CT_SCANNER", "PACSLESS", "127.0.0.1")
CANARY = b"Doe^Jane"


def references(count: int) -> tuple[Reference, ...]:
    return tuple(Reference((CT, MR)[n % 2], f"1.2.3.{n}") for n in range(1, count + 1))


def information(
    asked: Sequence[Reference],
    transfer_syntax: str = ImplicitVRLittleEndian,
    transaction: str = TRANSACTION,
    *,
    undefined: bool = False,
) -> bytes:
    """The Action Information as pydicom writes it."""
    data_set = Dataset()
    data_set.TransactionUID = transaction
    items = []
    for sop_class, sop_instance in asked:
        one = Dataset()
        one.is_undefined_length_sequence_item = undefined
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, sop_instance
        items.append(one)
    data_set.ReferencedSOPSequence = items
    data_set["ReferencedSOPSequence"].is_undefined_length = undefined
    encoded = encode(data_set, transfer_syntax == ImplicitVRLittleEndian, True)
    assert encoded is not None
    return encoded


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


# Requests


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


# Results


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


def pairs(data_set: Dataset, keyword: str) -> list[Reference]:
    return [
        Reference(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for one in data_set.get(keyword, [])
    ]


def test_which_statuses_say_that_a_report_has_arrived() -> None:
    assert all(has_arrived(status) for status in (0x0000, 0x0001, 0x0107, 0x0116, 0xB000, 0xBFFF))
    assert not any(has_arrived(status) for status in (None, 0x0110, 0x0112, 0xA700, 0xC000, 0xFE00))


# Transactions


@pytest.fixture
def transactions(tmp_path: Path) -> Transactions:
    return Transactions(tmp_path)


def anew(transactions: Transactions) -> Transactions:
    """As another process sees them."""
    return Transactions(transactions.folder.parent)


def add(
    transactions: Transactions,
    asked: Sequence[Reference] = references(3),
    sender: Sender = SENDER,
    transaction: str = TRANSACTION,
) -> tuple[str, Held | None]:
    return transactions.add(sender, Request(transaction, tuple(asked)))


def decided(transactions: Transactions, name: str) -> dict[int, int] | None:
    """The result that is written down, as another process reads it."""
    held = anew(transactions).hold(name)
    assert held is not None
    try:
        result = held.result(held.load())
    finally:
        held.release()
    return None if result is None else result.failures


def test_a_transaction_outlives_its_process_at_every_step(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    assert anew(transactions).hold(name) is None, "it is at once in the hands of who added it"
    held.release()  # the end of the process before it was checked
    held = anew(transactions).hold(name)
    assert held is not None
    commitment = held.load()
    assert (commitment.tenant_id, commitment.calling_ae_title) == ("default", "CT_SCANNER")
    assert commitment.called_ae_title == "PACSLESS"
    assert (commitment.transaction_uid, commitment.references) == (TRANSACTION, references(3))
    assert held.result(commitment) is None
    held.decide(commitment, {1: 0x0112})
    held.release()  # before it was sent
    assert decided(transactions, name) == {1: 0x0112}
    held = anew(transactions).hold(name)
    assert held is not None
    held.done()
    assert anew(transactions).pending() == []
    assert not list(transactions.folder.glob("*.re*"))
    held.release()  # twice is harmless


def test_the_kernel_takes_the_lock_from_a_killed_process(transactions: Transactions) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from scp_gateway.answers import Sender\n"
        "from scp_gateway.storage_commitment import Transactions\n"
        "from scp_gateway.storage_commitment.request import Reference, Request\n"
        "name, held = Transactions(Path(sys.argv[1])).add("
        "Sender('default', 'A', 'B', ''), Request('1.2', (Reference('1.3', '1.4'),)))\n"
        "print(name, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(transactions.folder.parent)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scp-gateway'}"},
    )
    try:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert transactions.pending() == [name]
        assert transactions.hold(name) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]
    held = eventually(lambda: transactions.hold(name))
    assert held is not None
    assert held.load().references == (Reference("1.3", "1.4"),)
    held.release()


def test_the_same_request_again_is_the_same_transaction(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    assert add(anew(transactions)) == (name, None)
    assert transactions.pending() == [name]
    held.done()
    again, held = add(transactions)
    assert again == name and held is not None, "a finished one is asked for anew"
    held.release()


def test_a_transaction_uid_with_other_references_is_a_duplicate(
    transactions: Transactions,
) -> None:
    first, held = add(transactions)
    assert held is not None
    name, duplicate = add(transactions, references(2))
    assert name != first and duplicate is not None
    duplicate.release()
    assert decided(transactions, name) == {0: 0x0131, 1: 0x0131}
    held.release()
    assert decided(transactions, first) is None
    for other in (
        Sender("default", "MR_SCANNER", "PACSLESS", "127.0.0.1"),
        Sender("elsewhere", "CT_SCANNER", "PACSLESS", "127.0.0.1"),
    ):
        name, held = add(transactions, references(2), other)
        assert held is not None
        held.release()
        assert decided(transactions, name) is None, "another sender's UIDs are its own"
    name, held = add(transactions, references(2), transaction="1.2.3.4.5.7")
    assert held is not None
    held.release()
    assert decided(transactions, name) is None


def test_the_order_of_references_is_part_of_a_request(transactions: Transactions) -> None:
    _, held = add(transactions)
    _, duplicate = add(transactions, references(3)[::-1])
    assert held is not None and duplicate is not None
    assert duplicate.load().references == references(3)[::-1]
    assert duplicate.result(duplicate.load()) is not None
    held.release()
    duplicate.release()


def test_a_result_is_never_taken_for_another_requests(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    held.decide(held.load(), {0: 0x0110})
    # A crash after the request was removed, before its result was.
    (transactions.folder / f"{name}.request").unlink()
    held.release()
    again, held = add(transactions)
    assert again == name and held is not None
    assert held.result(held.load()) is None
    held.release()


def test_a_damaged_request_is_noticed(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    path = transactions.folder / f"{name}.request"
    content = bytearray(path.read_bytes())
    for position in (0, 20, len(content) // 2, len(content) - 2):
        wrong = bytearray(content)
        wrong[position] ^= 1
        path.write_bytes(wrong)
        try:
            commitment = held.load()
        except Damaged:
            continue
        assert commitment.references == references(3)
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(Damaged):
            held.load()
    held.release()


def test_a_torn_result_is_none(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    commitment = held.load()
    held.decide(commitment, {0: 0x0110})
    path = transactions.folder / f"{name}.result"
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert held.result(commitment) is None
    held.release()


def test_too_many_are_declined(tmp_path: Path) -> None:
    few = Transactions(tmp_path / "few", max_pending=2)
    for number in range(2):
        add(few, transaction=f"1.2.{number}")
    with pytest.raises(Declined) as error:
        add(few, transaction="1.2.9")
    assert error.value.reply.status == 0x0213
    assert add(few, transaction="1.2.1")[1] is None, "one that is there is there"
    small = Transactions(tmp_path / "small", max_bytes=1_000)
    with pytest.raises(Declined):
        add(small, references(100))
    assert small.pending() == []
    assert add(small)[1] is not None


@pytest.mark.parametrize(("call", "nth"), [("write", 1), ("fsync", 1), ("link", 1), ("fsync", 2)])
def test_what_is_not_durable_is_not_promised(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    real: Callable[..., Any] = getattr(os, call)
    calls = []

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(Unavailable, match="No space left"):
            add(transactions)
    assert transactions.pending() == []
    assert [one.name for one in transactions.folder.iterdir() if one.name != ".lock"] == [
        "undelivered"
    ]
    _, held = add(transactions)
    assert held is not None
    held.release()


def test_sweeping_removes_what_crashes_left(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    held.decide(held.load(), {})
    held.release()
    (transactions.folder / ".0123").write_bytes(b"x")
    (transactions.folder / "a-b-c.result").write_bytes(b"x")
    assert transactions.sweep() == 0, "they may be somebody's"
    assert transactions.sweep(older_than=0) == 2
    assert transactions.pending() == [name]
    assert decided(transactions, name) == {}


def test_threads_that_ask_the_same_make_one_transaction(transactions: Transactions) -> None:
    found: list[tuple[str, Held | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append(add(anew(transactions)))) for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({name for name, _ in found}) == 1
    assert [held is not None for _, held in found].count(True) == 1
    for _, held in found:
        if held is not None:
            held.release()


# Checking, on a stand-in for the index; the real one is in tests/integration.


class Index:
    """The rows a query would find, or the error it would raise."""

    def __init__(self, archive: FileArchive) -> None:
        self.archive = archive
        self.rows: dict[str, list[str]] = {}
        self.error: Exception | None = None
        self.asked: list[str] = []

    def store(self, reference: Reference, content: bytes = b"DICM") -> None:
        key = f"default/1/2/{reference.sop_instance_uid}.dcm"
        with self.archive.incoming() as incoming:
            incoming.write(content)
            sealed = incoming.seal()
        self.archive.keep(sealed, key)
        self.rows[reference.sop_instance_uid] = [
            reference.sop_instance_uid, reference.sop_class_uid, sealed.sha256, key
        ]  # fmt: skip

    def run(self, work: Any, /) -> Any:
        if isinstance(work, str):
            raise TypeError
        return work(self._Transaction(self))

    class _Transaction:
        def __init__(self, index: Index) -> None:
            self._index = index

        def run(self, _sql: str, *, tenant: str, uids: list[str]) -> list[list[str]]:
            if self._index.error is not None:
                raise self._index.error
            assert tenant == "default"
            self._index.asked += uids
            return [self._index.rows[one] for one in uids if one in self._index.rows]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(FileArchive(tmp_path / "archive"))


def checker(index: Index, wait_seconds: float = 0.0, look_seconds: float = 5.0) -> Checker:
    database: Any = index
    return Checker(database, index.archive, wait_seconds, look_seconds=look_seconds)


class Association:
    """The asking association, as the gateway offers it."""

    def __init__(self, *statuses: int | None, transfer_syntax: str = ExplicitVRLittleEndian):
        self.transfer_syntax = transfer_syntax
        self.statuses = list(statuses)
        self.reports: list[tuple[int, Dataset]] = []

    def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
        assert seconds > 0
        is_implicit = self.transfer_syntax == ImplicitVRLittleEndian
        self.reports.append((event_type_id, decode(BytesIO(information), is_implicit, True)))
        return self.statuses.pop(0) if self.statuses else None


def ask(
    service: StorageCommitmentService,
    association: Association,
    asked: Sequence[Reference],
    transaction: str = TRANSACTION,
    sender: Sender = SENDER,
) -> int:
    reply = service.request(
        sender,
        STORAGE_COMMITMENT,
        STORAGE_COMMITMENT_INSTANCE,
        1,
        information(asked, association.transfer_syntax, transaction),
        association.transfer_syntax,
        association,
    )
    return reply.status


@contextmanager
def serving(
    transactions: Transactions, checker: Checker, **how: Any
) -> Iterator[StorageCommitmentService]:
    service = StorageCommitmentService(transactions, checker, **how)
    try:
        yield service
    finally:
        service.stop(10)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
def test_the_asking_association_gets_the_result(
    transactions: Transactions, index: Index, transfer_syntax: str
) -> None:
    asked = references(4)
    for one in (asked[0], asked[1], asked[3]):
        index.store(one)
    index.store(Reference(CT, "1.2.3.1000"))
    asked = (*asked, Reference(MR, "1.2.3.1000"))
    index.archive.root.joinpath(index.rows["1.2.3.2"][3]).write_bytes(b"DICN")
    association = Association(0, transfer_syntax=transfer_syntax)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: transactions.pending() == [])
        eventually(lambda: service.counts()["delivered"])
        assert service.counts() == {"committed": 0, "failed": 1, "delivered": 1}
    ((event_type, told),) = association.reports
    assert event_type == 2 and told.TransactionUID == TRANSACTION
    assert pairs(told, "ReferencedSOPSequence") == [asked[0], asked[3]]
    assert pairs(told, "FailedSOPSequence") == [asked[1], asked[2], asked[4]]
    reasons = [one.FailureReason for one in told.FailedSOPSequence]
    assert reasons == [0x0110, 0x0112, 0x0119]


def test_a_warning_of_the_scu_is_an_answer_and_a_failure_is_none(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.store(asked[0])
    association = Association(0x0110, 0x0107)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: transactions.pending() == [])
    assert [event_type for event_type, _ in association.reports] == [1, 1]


def test_a_request_that_cannot_be_kept_is_answered_so(
    transactions: Transactions, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(transactions, checker(index)) as service:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert ask(service, Association(0), references(1)) == 0x0213
        assert transactions.pending() == []
        reply = service.request(
            SENDER, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, 1, b"?",
            ImplicitVRLittleEndian, Association(),
        )  # fmt: skip
        assert reply.status == 0x0115 and 0 < len(reply.comment) <= 64


def test_the_same_request_twice_is_answered_once(transactions: Transactions, index: Index) -> None:
    asked = references(1)
    with serving(transactions, checker(index, 600)) as service:
        first, second = Association(0), Association(0)
        assert ask(service, first, asked) == 0
        assert ask(service, second, asked) == 0
        index.store(asked[0])
        eventually(lambda: transactions.pending() == [])
    assert len(first.reports) + len(second.reports) == 1


def test_a_repeated_request_brings_a_new_association(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.store(asked[0])
    with serving(transactions, checker(index)) as service:
        gone = Association()
        assert ask(service, gone, asked) == 0
        eventually(lambda: gone.reports)
        assert len(transactions.pending()) == 1
        second = Association(0)
        assert ask(service, second, asked) == 0
        eventually(lambda: transactions.pending() == [])
    assert len(second.reports) == 1


def test_a_duplicate_is_told_and_the_first_goes_on(
    transactions: Transactions, index: Index
) -> None:
    with serving(transactions, checker(index, 600)) as service:
        first, second = Association(0), Association(0)
        assert ask(service, first, references(1)) == 0
        assert ask(service, second, references(2)) == 0
        eventually(lambda: second.reports)
        ((event_type, told),) = second.reports
        assert event_type == 2 and "ReferencedSOPSequence" not in told
        assert [one.FailureReason for one in told.FailedSOPSequence] == [0x0131] * 2
        index.store(references(1)[0])
        eventually(lambda: first.reports)
    assert first.reports[0][0] == 1


def test_what_is_not_indexed_is_waited_for(transactions: Transactions, index: Index) -> None:
    asked = references(2)
    index.store(asked[0])
    association = Association(0)
    with serving(transactions, checker(index, 600)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: index.asked.count(asked[1].sop_instance_uid) >= 3)
        assert index.asked.count(asked[0].sop_instance_uid) == 1, "it was judged before"
        assert not association.reports
        index.store(asked[1])
        eventually(lambda: association.reports)
    assert association.reports[0][0] == 1


def test_an_index_that_is_down_is_no_reason_to_fail(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.error = Unavailable("postgres", "down")
    association = Association(0)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        held = transactions.hold(transactions.pending()[0])
        assert held is None
        index.store(asked[0])
        index.error = None
        eventually(lambda: association.reports)
    assert association.reports[0][0] == 1


def test_a_large_request_is_looked_at_in_pieces(transactions: Transactions, index: Index) -> None:
    asked = references(1_203)
    for one in asked[:-1]:
        index.store(one)
    association = Association(0)
    with serving(transactions, checker(index, look_seconds=0.005)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: association.reports)
    told = association.reports[0][1]
    assert pairs(told, "ReferencedSOPSequence") == list(asked[:-1])
    assert pairs(told, "FailedSOPSequence") == [asked[-1]]


def test_a_service_full_of_requests_leaves_the_next_to_the_deliverer(
    transactions: Transactions, index: Index
) -> None:
    with serving(transactions, checker(index, 600), max_active=1) as service:
        assert ask(service, Association(0), references(1), "1.2.1") == 0
        assert ask(service, Association(0), references(1), "1.2.2") == 0
        free = [one for one in map(transactions.hold, transactions.pending()) if one is not None]
        assert [one.load().transaction_uid for one in free] == ["1.2.2"]
        for one in free:
            one.release()


def test_a_stopped_service_lets_go(transactions: Transactions, index: Index) -> None:
    with serving(transactions, checker(index, 600)) as service:
        assert ask(service, Association(0), references(1)) == 0
        assert transactions.hold(transactions.pending()[0]) is None
    held = transactions.hold(transactions.pending()[0])
    assert held is not None
    held.release()


# Delivery on new associations


class Scu:
    """A storage commitment SCU that listens for its results: a real pynetdicom AE."""

    def __init__(self, port: int, *statuses: int, title: str, tls: Any = None) -> None:
        self.remote = Remote("127.0.0.1", port, tls=tls is not None)
        self.statuses = list(statuses)
        self.reports: list[tuple[int, Dataset]] = []
        self.titles: list[tuple[str, str]] = []
        self.roles: list[tuple[bool, bool]] = []
        self._ae = AE(ae_title=title)
        self._ae.require_called_aet = True
        self._ae.add_supported_context(
            STORAGE_COMMITMENT, list(SYNTAXES), scu_role=False, scp_role=True
        )
        self._server = self._ae.start_server(
            ("127.0.0.1", port),
            block=False,
            ssl_context=tls,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)],
        )

    def _take(self, event: Any) -> tuple[int, None]:
        assert event.request.AffectedSOPClassUID == STORAGE_COMMITMENT
        assert event.request.AffectedSOPInstanceUID == STORAGE_COMMITMENT_INSTANCE
        requestor = event.assoc.requestor
        role = requestor.role_selection[STORAGE_COMMITMENT]
        self.roles.append((bool(role.scu_role), bool(role.scp_role)))
        self.titles.append((requestor.ae_title, requestor.primitive.called_ae_title))
        self.reports.append((event.event_type, event.event_information))
        return (self.statuses.pop(0) if self.statuses else 0), None

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._ae.shutdown()


@contextmanager
def delivering(
    transactions: Transactions, index: Index, remote: Remote | None, **how: Any
) -> Iterator[Deliverer]:
    how = {"backoff": (0.05, 0.2), "answer_seconds": 10.0, **how}
    deliverer = Deliverer(transactions, checker(index), lambda *_: remote, **how)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop(30)


@pytest.fixture
def scu() -> Iterator[Callable[..., Scu]]:
    started: list[Scu] = []

    def start(*statuses: int, port: int = 0, title: str = "CT_SCANNER", tls: Any = None) -> Scu:
        started.append(Scu(port or free_ports(1)[0], *statuses, title=title, tls=tls))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def leave(
    transactions: Transactions, asked: Sequence[Reference], transaction: str = TRANSACTION
) -> str:
    """A request whose receiver was killed."""
    name, held = add(transactions, asked, transaction=transaction)
    assert held is not None
    held.release()
    return name


def test_the_deliverer_reports_on_an_association_of_its_own(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    good, bad = references(2), references(3)
    for one in good:
        index.store(one)
    leave(transactions, good, "1.2.1")
    leave(transactions, bad, "1.2.2")
    listening = scu()
    with delivering(transactions, index, listening.remote) as deliverer:
        eventually(lambda: transactions.pending() == [])
        assert eventually(lambda: deliverer.counts()["delivered"] == 2)
        assert deliverer.counts() == {
            "committed": 1, "failed": 1, "delivered": 2, "undelivered": 0, "pending": 0,
        }  # fmt: skip
    told = {one.TransactionUID: (kind, one) for kind, one in listening.reports}
    assert told["1.2.1"][0] == 1 and pairs(told["1.2.1"][1], "ReferencedSOPSequence") == list(good)
    assert told["1.2.2"][0] == 2
    assert pairs(told["1.2.2"][1], "FailedSOPSequence") == [bad[2]]
    assert set(listening.titles) == {("PACSLESS", "CT_SCANNER")}
    assert set(listening.roles) == {(False, True)}


def test_the_result_of_before_the_crash_is_repeated(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    _, held = add(transactions, references(1))
    assert held is not None
    held.decide(held.load(), {0: 0x0110})
    held.release()  # killed between result and report
    index.store(references(1)[0])  # what a check would find now
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    ((event_type, told),) = listening.reports
    assert event_type == 2 and told.FailedSOPSequence[0].FailureReason == 0x0110
    assert index.asked == []


def test_an_scu_that_refuses_twice_is_asked_a_third_time(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    leave(transactions, references(1))
    listening = scu(0x0110, 0x0213)
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 3
    assert len({str(told) for _, told in listening.reports}) == 1


def test_an_scu_that_comes_late_gets_its_results(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    (port,) = free_ports(1)
    for number in range(5):
        leave(transactions, references(1), f"1.2.{number}")
    with delivering(transactions, index, Remote("127.0.0.1", port, tls=False)) as deliverer:
        eventually(lambda: deliverer.counts()["failed"] == 5)
        assert deliverer.counts()["pending"] == 5
        listening = scu(port=port)
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 5


@pytest.mark.parametrize("why", ["nobody", "not-configured", "rejects", "silent", "endless-pdu"])
def test_a_result_nobody_takes_is_moved_aside(
    transactions: Transactions,
    index: Index,
    scu: Callable[..., Scu],
    caplog: pytest.LogCaptureFixture,
    why: str,
) -> None:
    name = leave(transactions, references(1))
    remote: Remote | None = Remote("127.0.0.1", free_ports(1)[0], tls=False)
    how: dict[str, Any] = {"retry_seconds": 0.0, "answer_seconds": 0.3}
    with socket.create_server(("127.0.0.1", 0)) as server:
        if why == "not-configured":
            remote = None
        elif why == "rejects":
            remote = scu(title="ANOTHER").remote
        elif why in ("silent", "endless-pdu"):
            remote = Remote("127.0.0.1", server.getsockname()[1], tls=False)
        if why == "endless-pdu":
            how["answer_seconds"] = 20.0

            def announce() -> None:
                client = server.accept()[0]
                client.sendall(pack(">BxL", 2, 0xFFFFFFF0) + bytes(1000))
                client.recv(1 << 16)
                client.close()

            threading.Thread(target=announce, daemon=True).start()
        with delivering(transactions, index, remote, **how) as deliverer:
            eventually(lambda: deliverer.counts()["undelivered"] == 1, within=15)
    assert transactions.pending() == []
    aside = transactions.folder / "undelivered"
    assert sorted(one.name for one in aside.iterdir()) == [f"{name}.request", f"{name}.result"]
    errors = [one for one in caplog.records if one.levelname == "ERROR"]
    mine = [one for one in errors if one.name.startswith("scp_gateway")]
    assert len(mine) == 1 and "undelivered" in mine[0].getMessage()


def test_an_unconfigured_scu_is_named_once_and_its_results_stay(
    transactions: Transactions, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        leave(transactions, references(1), f"1.2.{number}")
    asked: list[tuple[str, str]] = []
    deliverer = Deliverer(transactions, checker(index), lambda *who: asked.append(who))
    deliverer.start()
    eventually(lambda: len(asked) == 3)
    deliverer.stop(30)
    assert set(asked) == {("default", "CT_SCANNER")}
    assert len(transactions.pending()) == 3
    assert len([one for one in caplog.records if "remotes" in one.getMessage()]) == 1


def test_a_damaged_transaction_is_moved_aside_and_stops_no_other(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    name = leave(transactions, references(1), "1.2.1")
    (transactions.folder / f"{name}.request").write_bytes(b"{}")
    leave(transactions, references(1), "1.2.2")
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    assert [told.TransactionUID for _, told in listening.reports] == ["1.2.2"]
    assert (transactions.folder / "undelivered" / f"{name}.request").exists()


def test_the_deliverer_waits_for_the_receiver_and_takes_over(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    _, held = add(transactions, references(1))
    assert held is not None
    listening = scu()
    looks: list[str] = []
    real = transactions.hold

    def hold(name: str) -> Held | None:
        looks.append(name)
        return real(name)

    transactions.hold = hold  # type: ignore[method-assign]
    with delivering(transactions, index, listening.remote):
        eventually(lambda: len(looks) >= 3)
        assert not listening.reports
        held.release()
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 1


def test_an_ended_association_makes_way_for_the_deliverer_at_once(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    index.store(references(1)[0])
    listening = scu()
    ended = Association()
    with (
        serving(transactions, checker(index)) as service,
        delivering(transactions, index, listening.remote),
    ):
        assert ask(service, ended, references(1)) == 0
        eventually(lambda: transactions.pending() == [], within=10)
    assert len(ended.reports) == 1 and len(listening.reports) == 1


def test_ten_thousand_references_are_delivered_as_they_are(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    asked = references(10_000)
    _, held = add(transactions, asked)
    assert held is not None
    held.decide(held.load(), {9_999: 0x0112})
    held.release()
    listening = scu()
    with delivering(transactions, index, listening.remote):
        eventually(lambda: transactions.pending() == [])
    told = listening.reports[0][1]
    assert pairs(told, "ReferencedSOPSequence") == list(asked[:-1])
    assert pairs(told, "FailedSOPSequence") == [asked[-1]]


def test_a_result_goes_by_tls_to_whom_the_certificate_says(
    transactions: Transactions, index: Index, scu: Callable[..., Scu], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("scu.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    listening = scu(tls=server)
    leave(transactions, references(1), "1.2.1")
    client = ssl.create_default_context(cafile=authority.certificate)
    with delivering(transactions, index, listening.remote, tls=client):
        eventually(lambda: transactions.pending() == [])
    assert len(listening.reports) == 1
    # Without a context, or with one that does not know the authority, nothing is said.
    for context in (None, ssl.create_default_context()):
        leave(transactions, references(1), "1.2.2")
        with delivering(
            transactions, index, listening.remote, tls=context, retry_seconds=0.0
        ) as deliverer:
            eventually(lambda: deliverer.counts()["undelivered"] == 1)
    assert len(listening.reports) == 1
