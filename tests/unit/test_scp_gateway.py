"""The gateway's parts without a network: recovery, negotiation, settings, a bug."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom.presentation import build_context
from scp_gateway.application_entities import ApplicationEntities
from scp_gateway.asked import Request
from scp_gateway.c_store import CStore
from scp_gateway.presentation import STORAGE, Offer, supported
from scp_gateway.settings import GatewaySettings

from pacsless.archive import Archive, Sealed
from pacsless.archive.files import FileArchive
from pacsless.codec import Record
from pacsless.dicom.part10 import IMPLEMENTATION_VERSION_NAME, file_meta
from pacsless.dicom.transfer_syntaxes import STORABLE
from pacsless.identity import InstanceIdentity
from pacsless.outbox import Backlog, DiskSpace, Outbox
from pacsless.settings import InvalidSetting
from pacsless.storage import (
    Answer,
    Limits,
    ObjectTooLarge,
    Sender,
    Status,
    StorageService,
    recover,
)
from pacsless.storage.received import Received
from tests.instances import encode, make_dataset

KEY = "default/1.2/1.3/1.4.dcm"
CT = "1.2.840.10008.5.1.4.1.1.2"
OFFER = Offer(131072, any_sop_class=False, storage_commitment=True)
UNLIMITED = Limits(1 << 40, 1 << 40)
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    return FileArchive(tmp_path / "archive", nameless=False)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox")
    yield box
    box.close()


def make_service(
    archive: Archive,
    outbox: Outbox,
    on_answer: Callable[[Answer, int], None] = lambda *_: None,
    limits: Limits = UNLIMITED,
) -> StorageService:
    space = DiskSpace([], 90)
    return StorageService(archive, outbox, space, "test", on_answer, limits=limits)


def conclude(reception: CStore) -> Answer:
    """What an association does after the last fragment."""
    answer = reception.finish()
    reception.conclude()
    reception.abandon()
    return answer


def publishable(folder: Path) -> list[tuple[Record, ...]]:
    return [entry.records for entry in Backlog(lambda: [folder]).take(100, 0)]


def seal(archive: Archive, content: bytes) -> Sealed:
    with archive.incoming() as incoming:
        incoming.write(content)
        return incoming.seal()


@pytest.mark.parametrize(
    ("crashed", "fate"),
    [
        ("before the key", "finished"),
        ("before the folder", "found"),
        ("after the key", "found"),
        ("with nothing left", "dropped"),
        ("after losing a race", "dropped"),
    ],
)
def test_a_promise_after_a_crash(tmp_path: Path, crashed: str, fate: str) -> None:
    archive = FileArchive(tmp_path / "archive", nameless=False)
    before = Outbox(tmp_path / "outbox")
    sealed = seal(archive, b"content")
    before.intend(sealed, KEY, [record()])
    match crashed:
        case "before the folder":  # linked, and the temporary name is still there
            again = seal(archive, b"content")
            archive.keep(again, KEY)
        case "after the key":
            archive.keep(sealed, KEY)
        case "with nothing left":
            archive.discard(sealed)
        case "after losing a race":
            archive.keep(seal(archive, b"other"), KEY)
    before.close()
    half = archive.incoming("gateway-0")
    half.write(b"half an inst")
    others = archive.incoming("gateway-1")

    outbox = Outbox(tmp_path / "outbox")
    counts = recover(archive, outbox, "gateway-0")
    assert {name for name, count in counts.items() if count} == {fate, "swept"}
    assert archive.sealed(sealed.name) is None
    assert [path.name for path in (archive.root / ".incoming").iterdir()] == [others.name]
    assert publishable(tmp_path / "outbox") == ([(record(),)] if fate != "dropped" else [])
    if crashed == "after losing a race":
        assert archive.open(KEY).read() == b"other"
    elif fate != "dropped":
        assert hashlib.sha256(archive.open(KEY).read()).hexdigest() == sealed.sha256
    assert not outbox.unfinished(), "recovering twice changes nothing"
    outbox.close()


def record() -> Record:
    return Record("storage_queue", b"default/1.2", b"{}", ())


def test_a_bug_is_never_a_success(
    archive: FileArchive, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("Doe^Jane")

    answers: list[Answer] = []
    service = make_service(archive, outbox, lambda answer, _: answers.append(answer))
    ds = make_dataset()
    content = encode(ds)
    request = Request(CT, CT, str(ds.SOPInstanceUID), EXPLICIT)
    sender = Sender("default", "A", "B", "127.0.0.1")
    monkeypatch.setattr(Received, "identifiers", broken)
    reception = CStore(service, request, sender)
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert conclude(reception).status == Status.PROCESSING_FAILURE
    monkeypatch.undo()
    reception = CStore(service, request, sender)
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert conclude(reception).status == Status.SUCCESS
    assert [one.outcome for one in answers] == ["refused", "stored"]
    assert "Doe" not in repr(answers)


@pytest.mark.parametrize("written_by", ["us", "another version"])
def test_a_duplicate_is_promised_as_durably_as_the_first(
    archive: FileArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_by: str
) -> None:
    """The first may have got its key and lost its promise: a PUT whose answer was lost."""
    ds = make_dataset()
    content = encode(ds)
    data_set = content[content.index(b"\x08\x00\x05\x00") :]
    meta = file_meta(CT, str(ds.SOPInstanceUID), EXPLICIT)
    if written_by == "another version":
        meta = meta.replace(IMPLEMENTATION_VERSION_NAME.encode(), b"X" * 12)
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    archive.keep(seal(archive, meta + data_set), InstanceIdentity("default", *uids).key)
    outbox = Outbox(tmp_path / "outbox")
    real = outbox.kept
    # What is only noted beside a mark a power cut may take back.
    monkeypatch.setattr(outbox, "kept", lambda intent, _: real(intent))
    service = make_service(archive, outbox)
    reception = CStore(
        service,
        Request(CT, CT, str(ds.SOPInstanceUID), EXPLICIT),
        Sender("default", "A", "B", "::1"),
    )
    reception.write(data_set)
    answer = conclude(reception)
    assert (answer.status, answer.outcome) == (Status.SUCCESS, "duplicate")
    ((told,),) = publishable(tmp_path / "outbox")
    assert json.loads(told.value)["Sha256"] == hashlib.sha256(meta + data_set).hexdigest()
    assert not list((archive.root / ".incoming").iterdir())
    outbox.close()


def test_an_archive_that_fails_is_out_of_resources(tmp_path: Path, outbox: Outbox) -> None:
    archive = FileArchive(tmp_path / "archive")
    service = make_service(archive, outbox)
    ds = make_dataset()
    content = encode(ds)
    # A file stands where the study's folder should be.
    (archive.root / "default").write_text("in the way")
    reception = CStore(
        service,
        Request(CT, CT, str(ds.SOPInstanceUID), EXPLICIT),
        Sender("default", "A", "B", "::1"),
    )
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert conclude(reception).status == Status.OUT_OF_RESOURCES
    assert not list((archive.root / ".incoming").iterdir())
    ((note,),) = publishable(tmp_path / "outbox")
    assert note.topic == "log_queue", "no promise is left"


def test_an_object_without_end_is_cut_off(archive: FileArchive, outbox: Outbox) -> None:
    service = make_service(archive, outbox, limits=Limits(1 << 20, 1 << 30))
    reception = CStore(
        service, Request(CT, CT, "1.2", EXPLICIT), Sender("default", "A", "B", "::1")
    )
    for _ in range(10):
        reception.write(bytes(100_000))
    with pytest.raises(ObjectTooLarge):
        reception.write(bytes(100_000))
    reception.abandon()
    assert not list((archive.root / ".incoming").iterdir())


def test_a_tenant_sends_so_much_at_once(archive: FileArchive, outbox: Outbox) -> None:
    service = make_service(archive, outbox, limits=Limits(1 << 30, 4 << 20))
    first, second, other = (
        CStore(service, Request(CT, CT, "1.2", EXPLICIT), Sender(tenant, "A", "B", "::1"))
        for tenant in ("a", "a", "b")
    )
    for reception in (first, second, other):
        for _ in range(5):
            reception.write(bytes(700_000))
    assert len(list((archive.root / ".incoming").iterdir())) == 2, "the third's is kept"
    assert conclude(second).reason == "tenant-limit"
    for reception in (first, other):
        reception.abandon()
    again = CStore(service, Request(CT, CT, "1.2", EXPLICIT), Sender("a", "A", "B", "::1"))
    for _ in range(5):
        again.write(bytes(700_000))
    assert conclude(again).status == Status.CANNOT_UNDERSTAND, "as far as its data set"


def test_storage_sop_classes() -> None:
    assert len(STORAGE) > 190
    for known in (
        CT,
        "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound, retired
        "1.2.840.10008.5.1.4.1.1.501.1",  # DICOS CT
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    ):
        assert known in STORAGE
    assert "1.2.840.10008.1.20.1" not in STORAGE, "Storage Commitment stores nothing"
    assert "1.2.840.10008.5.1.4.38.1" not in STORAGE, "a Hanging Protocol has no study"


def test_every_transfer_syntax_of_every_storage_class() -> None:
    requested = [build_context(one, list(STORABLE)) for one in sorted(STORAGE)]
    found = {str(one.abstract_syntax): one.transfer_syntax for one in supported(requested, OFFER)}
    assert set(found) == STORAGE
    assert all(list(map(str, accepted)) == list(STORABLE) for accepted in found.values())


def test_what_is_not_storage_is_not_supported() -> None:
    unknown, find = "1.2.826.0.1.3680043.9.9999", "1.2.840.10008.5.1.4.1.2.2.1"
    requested = [
        build_context(unknown, IMPLICIT),
        build_context(find, IMPLICIT),
        build_context("1.2.840.10008.1.1", IMPLICIT),
    ]
    names = [str(one.abstract_syntax) for one in supported(requested, OFFER)]
    assert names == ["1.2.840.10008.1.1"]
    names = [
        str(one.abstract_syntax) for one in supported(requested, replace(OFFER, any_sop_class=True))
    ]
    assert names == [unknown, "1.2.840.10008.1.1"]


def test_titles_name_tenants() -> None:
    own = GatewaySettings.from_environ(
        {
            "PACSLESS_GATEWAY_AE_TITLES": "PACSLESS=default, Hosp B=hospital-b",
            "PACSLESS_GATEWAY_ANY_SOP_CLASS": "Yes",
            "PACSLESS_GATEWAY_PORT": "104",
        }
    )
    entities = ApplicationEntities.from_titles(own.ae_titles)
    assert entities.tenants == {"PACSLESS": "default", "Hosp B": "hospital-b"}
    assert own.any_sop_class and own.port == 104


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AE_TITLES", ""),
        ("AE_TITLES", "PACSLESS"),
        ("AE_TITLES", "A=default,A=other"),
        ("AE_TITLES", "SEVENTEEN_LETTERS=default"),
        ("AE_TITLES", "A\\B=default"),
        ("ANY_SOP_CLASS", "perhaps"),
        ("MAX_PDU", "0"),
        ("MAX_PDU", "many"),
        ("HIGH_WATER_PERCENT", "101"),
    ],
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"PACSLESS_GATEWAY_{name}"):
        GatewaySettings.from_environ({f"PACSLESS_GATEWAY_{name}": value})


def test_a_misspelt_setting_is_told_of() -> None:
    with pytest.raises(InvalidSetting, match=r"MAXPDU is no setting.*did you mean .*MAX_PDU"):
        GatewaySettings.from_environ({"PACSLESS_GATEWAY_MAXPDU": "5", "PACSLESS_SPOOL": "x"})


def test_a_reserved_tenant_is_refused() -> None:
    with pytest.raises(InvalidSetting):
        GatewaySettings(ae_titles=("A=quarantine",))
