"""The gateway's parts without a network: recovery, negotiation, settings, a bug."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import scp_gateway.c_store
from pynetdicom.presentation import build_context
from scp_gateway.answers import Answer, Request, Sender, Status
from scp_gateway.c_store import StorageService
from scp_gateway.negotiation import STORAGE, supported
from scp_gateway.recovery import recover
from scp_gateway.settings import GatewaySettings

from pacsless.archive import Archive, Sealed
from pacsless.archive.files import FileArchive
from pacsless.dicom.part10 import IMPLEMENTATION_VERSION_NAME, file_meta
from pacsless.dicom.transfer_syntaxes import STORABLE
from pacsless.errors import InvalidIdentity
from pacsless.identity import InstanceIdentity
from pacsless.outbox import Outbox
from pacsless.settings import InvalidSetting
from tests.instances import encode, make_dataset

KEY = "default/1.2/1.3/1.4.dcm"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    return FileArchive(tmp_path / "archive")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path)
    yield box
    box.close()


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
    archive = FileArchive(tmp_path / "archive")
    before = Outbox(tmp_path)
    sealed = seal(archive, b"content")
    before.intend(sealed, KEY, [])
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

    outbox = Outbox(tmp_path)
    counts = recover(archive, outbox)
    assert {name for name, count in counts.items() if count} == {fate}
    assert archive.sealed(sealed.name) is None
    assert len(outbox.take(10, 0)) == (fate != "dropped")
    if crashed == "after losing a race":
        assert archive.open(KEY).read() == b"other"
    elif fate != "dropped":
        assert hashlib.sha256(archive.open(KEY).read()).hexdigest() == sealed.sha256
    outbox.close()
    after = Outbox(tmp_path)
    assert not after.unfinished, "recovering twice changes nothing"
    after.close()


def test_a_bug_is_never_a_success(
    archive: FileArchive, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("Doe^Jane")

    answers: list[Answer] = []
    service = StorageService(archive, outbox, lambda answer, _: answers.append(answer))
    ds = make_dataset()
    content = encode(ds)
    request = Request(1, CT, CT, str(ds.SOPInstanceUID), EXPLICIT)
    sender = Sender("default", "A", "B", "127.0.0.1")
    monkeypatch.setattr(scp_gateway.c_store, "scan", broken)
    reception = service.begin(request, sender)
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert reception.finish().status == Status.PROCESSING_FAILURE
    monkeypatch.undo()
    reception = service.begin(request, sender)
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert reception.finish().status == Status.SUCCESS
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
    outbox = Outbox(tmp_path)
    # What is only noted a power cut may take back.
    monkeypatch.setattr(outbox, "note", lambda _: None)
    service = StorageService(archive, outbox, lambda *_: None)
    reception = service.begin(
        Request(1, CT, CT, str(ds.SOPInstanceUID), EXPLICIT), Sender("default", "A", "B", "::1")
    )
    reception.write(data_set)
    answer = reception.finish()
    assert (answer.status, answer.outcome) == (Status.SUCCESS, "duplicate")
    (entry,) = outbox.take(10, 0)
    (record,) = entry.records
    assert json.loads(record.value)["Sha256"] == hashlib.sha256(meta + data_set).hexdigest()
    assert not list((archive.root / ".incoming").iterdir())
    outbox.done([entry.id])
    assert outbox.depth.entries == 0
    outbox.close()


def test_an_archive_that_fails_is_out_of_resources(tmp_path: Path, outbox: Outbox) -> None:
    archive = FileArchive(tmp_path / "archive")
    service = StorageService(archive, outbox, lambda *_: None)
    ds = make_dataset()
    content = encode(ds)
    # A file stands where the study's folder should be.
    (archive.root / "default").write_text("in the way")
    reception = service.begin(
        Request(1, CT, CT, str(ds.SOPInstanceUID), EXPLICIT), Sender("default", "A", "B", "::1")
    )
    reception.write(content[content.index(b"\x08\x00\x05\x00") :])
    assert reception.finish().status == Status.OUT_OF_RESOURCES
    assert not list((archive.root / ".incoming").iterdir())
    (note,) = outbox.take(10, 0)
    assert note.records[0].topic == "log_queue", "no promise is left"


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
    found = {str(one.abstract_syntax): one.transfer_syntax for one in supported(requested, False)}
    assert set(found) == STORAGE
    assert all(list(map(str, accepted)) == list(STORABLE) for accepted in found.values())


def test_what_is_not_storage_is_not_supported() -> None:
    unknown, find = "1.2.826.0.1.3680043.9.9999", "1.2.840.10008.5.1.4.1.2.2.1"
    requested = [
        build_context(unknown, IMPLICIT),
        build_context(find, IMPLICIT),
        build_context(CT, "1.2.3.4"),
        build_context("1.2.840.10008.1.1", IMPLICIT),
    ]
    names = [str(one.abstract_syntax) for one in supported(requested, False)]
    assert names == ["1.2.840.10008.1.1"]
    names = [str(one.abstract_syntax) for one in supported(requested, True)]
    assert names == [unknown, "1.2.840.10008.1.1"]


def test_titles_name_tenants() -> None:
    own = GatewaySettings.from_environ(
        {
            "PACSLESS_GATEWAY_AE_TITLES": "PACSLESS=default, Hosp B=hospital-b",
            "PACSLESS_GATEWAY_ANY_SOP_CLASS": "Yes",
            "PACSLESS_GATEWAY_PORT": "104",
        }
    )
    assert own.tenants == {"PACSLESS": "default", "Hosp B": "hospital-b"}
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


def test_a_reserved_tenant_is_refused() -> None:
    with pytest.raises(InvalidIdentity):
        GatewaySettings(ae_titles=("A=quarantine",))
