"""What storage commitment says of real files and a real index."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom.dsutils import decode, encode
from scp_gateway.storage_commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Checker,
    StorageCommitmentService,
    Transactions,
)
from scp_gateway.storage_commitment.check import Progress
from scp_gateway.storage_commitment.commitment import Commitment
from scp_gateway.storage_commitment.request import Reference

from functions.extract_tags.index import index
from pacsless.archive.files import FileArchive
from pacsless.errors import Unavailable
from pacsless.events import InstanceStored
from pacsless.postgres import Database
from pacsless.settings import Settings
from pacsless.storage import Sender
from tests.eventually import eventually
from tests.instances import make_dataset, new_tenant, store
from tests.services import PostgresServer

PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119


@dataclass
class Site:
    """One tenant, with its archive and the index."""

    archive: FileArchive
    database: Database
    settings: Settings
    tenant: str

    def receive(self, **values: Any) -> InstanceStored:
        """Keep an instance, as the gateway does."""
        return store(self.archive, self.tenant, make_dataset(bytes(8), **values))

    def index(self, *events: InstanceStored) -> None:
        """Index instances, as extract_tags does."""
        index(events, self.archive, self.database, self.settings)

    def stored(self, **values: Any) -> InstanceStored:
        """Keep and index an instance."""
        event = self.receive(**values)
        self.index(event)
        return event

    def file(self, event: InstanceStored) -> Path:
        return self.archive.root / event.file_path

    def checker(self, wait_seconds: float = 0.0) -> Checker:
        return Checker(self.database, self.archive, wait_seconds)

    def check(self, *references: Reference, wait_seconds: float = 0.0) -> dict[int, int]:
        """Look until everything is judged; return the failures."""
        asked = Commitment("", self.tenant, "CT_SCANNER", "PACSLESS", "1.2", tuple(references))
        progress = Progress.start(asked)
        checker = self.checker(wait_seconds)

        def judged() -> bool:
            checker.look(asked, progress)
            return progress.is_finished

        eventually(judged)
        return progress.failures


@pytest.fixture
def site(postgres: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    database = Database.from_settings(postgres.settings)
    yield Site(FileArchive(tmp_path / "archive"), database, postgres.settings, new_tenant())
    database.close()


def ct(event: InstanceStored) -> Reference:
    return Reference(CTImageStorage, event.sop_instance_uid)


def test_what_is_stored_and_indexed_is_committed(site: Site) -> None:
    assert site.check(*(ct(site.stored()) for _ in range(3))) == {}


def test_more_than_one_batch_is_committed(site: Site) -> None:
    study, series = generate_uid(), generate_uid()
    events = [
        site.receive(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        for number in range(510)
    ]
    site.index(*events)
    missing = Reference(CTImageStorage, generate_uid())
    asked = [*map(ct, events[:505]), missing, *map(ct, events[505:])]
    assert site.check(*asked) == {505: NO_SUCH_INSTANCE}


def test_what_nobody_sent_is_no_such_instance(site: Site) -> None:
    missing = Reference(CTImageStorage, generate_uid())
    assert site.check(ct(site.stored()), missing) == {1: NO_SUCH_INSTANCE}


def test_another_sop_class_is_a_conflict(site: Site) -> None:
    event = site.stored()
    wrong = Reference(MRImageStorage, event.sop_instance_uid)
    assert site.check(wrong, ct(event)) == {0: CLASS_CONFLICT}


@pytest.mark.parametrize("damage", ["a bit", "the last byte", "longer", "empty", "gone", "folder"])
def test_a_damaged_file_is_a_processing_failure(site: Site, damage: str) -> None:
    event, good = site.stored(), site.stored()
    path = site.file(event)
    content = bytearray(path.read_bytes())
    match damage:
        case "a bit":
            content[-3] ^= 1
            path.write_bytes(content)
        case "the last byte":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"\0")
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case _:
            path.unlink()
            path.parent.rmdir()
    assert site.check(ct(event), ct(good)) == {0: PROCESSING_FAILURE}


def test_another_tenants_instance_is_no_such_instance(site: Site) -> None:
    event = site.stored()
    other = Site(site.archive, site.database, site.settings, new_tenant())
    wrong_class = Reference(MRImageStorage, event.sop_instance_uid)
    assert other.check(ct(event), wrong_class) == {0: NO_SUCH_INSTANCE, 1: NO_SUCH_INSTANCE}
    site.file(event).write_bytes(b"")
    assert other.check(ct(event)) == {0: NO_SUCH_INSTANCE}, "its state shows no more than that"
    assert site.check(ct(event)) == {0: PROCESSING_FAILURE}


def test_the_same_uid_in_two_tenants_is_two_instances(site: Site) -> None:
    uid = generate_uid()
    other = Site(site.archive, site.database, site.settings, new_tenant())
    mine, others = site.stored(SOPInstanceUID=uid), other.stored(SOPInstanceUID=uid)
    other.file(others).unlink()
    assert site.check(ct(mine)) == {}
    assert other.check(ct(others)) == {0: PROCESSING_FAILURE}


def test_an_instance_in_two_series_has_to_be_whole_in_both(site: Site) -> None:
    uid = generate_uid()
    site.stored(SOPInstanceUID=uid)
    second = site.stored(SOPInstanceUID=uid)
    assert site.check(ct(second)) == {}
    site.file(second).write_bytes(b"")
    assert site.check(ct(second)) == {0: PROCESSING_FAILURE}


def test_an_archive_that_cannot_be_read_is_no_failure(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = site.stored()
    asked = Commitment("", site.tenant, "A", "B", "1.2", (ct(event),))
    progress = Progress.start(asked)
    path = site.file(event)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()  # read(2) says EISDIR, for root as well
    with pytest.raises(Unavailable):
        site.checker().look(asked, progress)
    assert not progress.is_finished
    path.rmdir()
    path.write_bytes(content)
    site.checker().look(asked, progress)
    assert progress.is_finished and progress.failures == {}


class Association:
    """The asking association, as the gateway offers it."""

    transfer_syntax = str(ExplicitVRLittleEndian)

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.reported = threading.Event()

    def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
        self.reports.append((event_type_id, decode(BytesIO(information), False, True)))
        self.reported.set()
        return 0


Ask = Callable[[Sequence[Reference]], Association]


@pytest.fixture
def ask(site: Site, tmp_path: Path) -> Iterator[Ask]:
    """Send an N-ACTION to a service that waits a minute for the index."""
    service = StorageCommitmentService(Transactions(tmp_path / "spool"), site.checker(60))

    def send(references: Sequence[Reference]) -> Association:
        asked = Dataset()
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = []
        for sop_class, sop_instance in references:
            one = Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, sop_instance
            asked.ReferencedSOPSequence.append(one)
        information = encode(asked, False, True)
        assert information is not None
        association = Association()
        reply = service.request(
            Sender(site.tenant, "CT_SCANNER", "PACSLESS", "127.0.0.1"),
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
            1,
            information,
            association.transfer_syntax,
            association,
        )
        assert reply.status == 0
        return association

    yield send
    service.stop(10)


def test_what_is_indexed_later_is_waited_for(site: Site, ask: Ask) -> None:
    first, second = site.stored(), site.receive()
    association = ask([ct(first), ct(second)])
    assert not association.reported.wait(1.5)
    site.index(second)
    assert association.reported.wait(30)
    ((event_type, told),) = association.reports
    assert event_type == 1
    assert [one.ReferencedSOPInstanceUID for one in told.ReferencedSOPSequence] == [
        first.sop_instance_uid,
        second.sop_instance_uid,
    ]


def test_a_database_that_is_down_is_waited_for(
    site: Site, ask: Ask, postgres: PostgresServer
) -> None:
    good, damaged = site.stored(), site.stored()
    site.file(damaged).write_bytes(b"")
    postgres.stop(signal.SIGQUIT)
    try:
        begun = time.monotonic()
        association = ask([ct(good), ct(damaged)])
        assert time.monotonic() - begun < 5, "the request is answered without PostgreSQL"
        assert not association.reported.wait(1.5)
    finally:
        postgres.start()
    assert association.reported.wait(60)
    ((event_type, told),) = association.reports
    assert event_type == 2
    assert [one.ReferencedSOPInstanceUID for one in told.ReferencedSOPSequence] == [
        good.sop_instance_uid
    ]
    assert [one.FailureReason for one in told.FailedSOPSequence] == [PROCESSING_FAILURE]


def test_time_without_a_database_is_no_time_waited(site: Site, postgres: PostgresServer) -> None:
    event = site.receive()
    asked = Commitment("", site.tenant, "A", "B", "1.2", (ct(event),))
    progress = Progress.start(asked)
    checker = site.checker(0.2)
    checker.look(asked, progress)
    postgres.stop(signal.SIGQUIT)
    try:
        with pytest.raises(Unavailable):
            checker.look(asked, progress)
    finally:
        postgres.start()
    # Later than 0.2 s after the first look, but what indexes was down as well.
    checker.look(asked, progress)
    assert not progress.is_finished
    site.index(event)
    checker.look(asked, progress)
    assert progress.is_finished and progress.failures == {}
