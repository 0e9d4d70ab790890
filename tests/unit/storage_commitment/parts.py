"""What the tests of storage commitment share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode, encode
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
from scp_gateway.storage_commitment.deliver import FindRemote
from scp_gateway.storage_commitment.request import Request
from scp_gateway.storage_commitment.transactions import Held

from pacsless.archive.files import FileArchive
from pacsless.storage import Sender

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


def pairs(data_set: Dataset, keyword: str) -> list[Reference]:
    return [
        Reference(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for one in data_set.get(keyword, [])
    ]


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


def checker(index: Index, wait_seconds: float = 0.0, look_seconds: float = 5.0) -> Checker:
    database: Any = index
    return Checker(database, index.archive, wait_seconds, look_seconds=look_seconds)


class Association:
    """The asking association, as the gateway offers it."""

    def __init__(self, *statuses: int | None, transfer_syntax: str = ExplicitVRLittleEndian):
        self.transfer_syntax = transfer_syntax
        self.statuses = list(statuses)
        self.reports: list[tuple[int, Dataset]] = []
        self.reported_at = 0.0

    def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
        assert seconds > 0
        self.reported_at = time.monotonic()
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
    how = {"report_after_seconds": 0.0, **how}
    service = StorageCommitmentService(transactions, checker, **how)
    try:
        yield service
    finally:
        service.stop(10)


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
    transactions: Transactions, index: Index, remote: Remote | FindRemote | None, **how: Any
) -> Iterator[Deliverer]:
    how = {"backoff": (0.05, 0.2), "answer_seconds": 10.0, **how}
    find = remote if callable(remote) else lambda *_: remote
    deliverer = Deliverer(transactions, checker(index), find, **how)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop(30)


def leave(
    transactions: Transactions,
    asked: Sequence[Reference],
    transaction: str = TRANSACTION,
    sender: Sender = SENDER,
) -> str:
    """A request whose receiver was killed."""
    name, held = add(transactions, asked, sender, transaction)
    assert held is not None
    held.release()
    return name
