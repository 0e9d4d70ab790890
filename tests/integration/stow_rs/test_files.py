"""PS3.10 files to STOW-RS: what is stored, what is announced, what is told."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import threading
import zlib
from pathlib import Path

import pytest
import urllib3
from dicomweb_client import DICOMwebClient
from pydicom.uid import CTImageStorage, generate_uid

from pacsless.outbox import outbox_folders
from pacsless.storage import Status
from tests.dicom_files import samples
from tests.eventually import eventually
from tests.gateway import data_set
from tests.instances import encode, make_dataset
from tests.native_model import read
from tests.services import FunctionProcess, require
from tests.stow import Stow, multipart, related, serve, told


def test_files_are_stored_as_they_are_and_announced(stow: Stow) -> None:
    study = generate_uid()
    sent = [make_dataset(b"\0\1" * 4, StudyInstanceUID=study) for _ in range(12)]
    files = [encode(ds) for ds in sent]
    before = len(stow.events())
    answer = stow.store(*files)
    assert answer.status == 200, answer.data
    module = told(answer)
    assert module.RetrieveURL == f"{stow.front.url}/dicom-web/studies/{study}"
    assert "FailedSOPSequence" not in module and "OtherFailuresSequence" not in module
    for ds, content, item in zip(sent, files, module.ReferencedSOPSequence, strict=True):
        assert item.ReferencedSOPClassUID == CTImageStorage
        assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
        key = f"{study}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}"
        assert stow.stored()[f"main/{key}.dcm"] == content
        assert item.RetrieveURL == (
            f"{stow.front.url}/dicom-web/studies/{study}/series/{ds.SeriesInstanceUID}"
            f"/instances/{ds.SOPInstanceUID}"
        )
    events = stow.events()[before:]
    assert {(one.sop_instance_uid, one.sha256) for one in events} == {
        (str(ds.SOPInstanceUID), hashlib.sha256(content).hexdigest())
        for ds, content in zip(sent, files, strict=True)
    }
    for one in events:
        assert (one.tenant_id, one.via, one.patient_id) == ("main", "STOW-RS", "P-1")
        assert one.remote_address == "127.0.0.1"
        assert one.transfer_syntax == "1.2.840.10008.1.2.1"


def test_the_tenant_is_that_of_the_address(stow: Stow) -> None:
    ds = make_dataset()
    answer = stow.store(
        encode(ds), path="/tenants/north/dicom-web/studies", X_Pacsless_Tenant="south"
    )
    assert answer.status == 200
    assert any(key.startswith(f"north/{ds.StudyInstanceUID}/") for key in stow.stored())
    assert told(answer).RetrieveURL == (
        f"{stow.front.url}/tenants/north/dicom-web/studies/{ds.StudyInstanceUID}"
    )


def test_the_same_again_is_a_success_and_stored_once(stow: Stow) -> None:
    content = encode(make_dataset(b"\0\1" * 4))
    assert stow.store(content, content).status == 200
    assert stow.store(content).status == 200
    outcomes = [one.outcome for one in stow.attempts()[-3:]]
    assert outcomes == ["stored", "duplicate", "duplicate"]
    assert list(stow.stored().values()).count(content) == 1
    page = urllib3.request("GET", f"http://{stow.function.address}/metrics").data.decode()
    assert re.search(
        r'pacsless_stow_instances_total{outcome="duplicate",status="0000"} [2-9]', page
    )


def test_other_content_of_a_stored_instance_is_kept_aside_and_told(stow: Stow) -> None:
    ds = make_dataset(b"\0\1" * 4)
    first = encode(ds)
    ds.PatientName = "Other"
    second = encode(ds)
    assert stow.store(first).status == 200
    answer = stow.store(second)
    assert answer.status == 409
    (failed,) = told(answer).FailedSOPSequence
    assert failed.ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert failed.FailureReason == Status.DUPLICATE_SOP_INSTANCE
    stored = stow.stored()
    assert first in stored.values()
    (aside,) = [key for key, content in stored.items() if content == second]
    assert aside.startswith("quarantine/main/")


def test_some_stored_and_some_not_is_202(stow: Stow) -> None:
    good, other, unreadable = make_dataset(), make_dataset(), make_dataset()
    del other.SeriesInstanceUID
    syntax = encode(unreadable).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    answer = stow.store(encode(good), encode(other), b"<html>no DICOM</html>" * 20, syntax)
    assert answer.status == 202
    module = told(answer)
    assert [one.ReferencedSOPInstanceUID for one in module.ReferencedSOPSequence] == [
        good.SOPInstanceUID
    ]
    assert {
        one.ReferencedSOPInstanceUID: one.FailureReason for one in module.FailedSOPSequence
    } == {
        other.SOPInstanceUID: Status.CANNOT_UNDERSTAND,
        unreadable.SOPInstanceUID: Status.TRANSFER_SYNTAX_NOT_SUPPORTED,
    }
    (html,) = module.OtherFailuresSequence
    assert html.FailureReason == Status.CANNOT_UNDERSTAND
    refused = [one for one in stow.attempts()[-4:] if one.outcome == "refused"]
    assert {one.reason for one in refused} == {"missing-uid", "transfer-syntax", "not-dicom"}


def test_an_instance_of_another_study_than_the_address_is_refused(stow: Stow) -> None:
    ds, other = make_dataset(), make_dataset()
    path = f"/dicom-web/studies/{ds.StudyInstanceUID}"
    answer = stow.store(encode(ds), encode(other), path=path)
    assert answer.status == 202
    (failed,) = told(answer).FailedSOPSequence
    assert failed.ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert failed.FailureReason == Status.DOES_NOT_MATCH


def test_a_file_by_itself(stow: Stow) -> None:
    content = encode(make_dataset(b"\0\1" * 4))
    answer = stow.post(content, "application/dicom")
    assert answer.status == 200
    assert content in stow.stored().values()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_encoded_body(stow: Stow, encoding: str) -> None:
    content = encode(make_dataset(os.urandom(100_000)))
    body = multipart(({"Content-Type": "application/dicom"}, content))
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    answer = stow.post(packed, related("application/dicom"), Content_Encoding=encoding)
    assert answer.status == 200
    assert content in stow.stored().values()


def test_a_chunked_body_with_a_preamble_and_an_epilogue(stow: Stow) -> None:
    content = encode(make_dataset(os.urandom(300_000)))
    body = b"This is MIME." + multipart(({"Content-Type": "application/dicom"}, content)) + b"End."
    pieces = (body[at : at + 7001] for at in range(0, len(body), 7001))
    answer = stow.post(pieces, related("application/dicom"))
    assert answer.status == 200, answer.data
    assert content in stow.stored().values()


def test_the_outcome_in_xml(stow: Stow) -> None:
    ds = make_dataset()
    answer = stow.store(encode(ds), Accept="application/dicom+xml")
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    model = read(answer.data)
    assert model["00081199"]["Value"][0]["00081155"]["Value"] == [ds.SOPInstanceUID]


def test_dicomweb_client_stores(stow: Stow) -> None:
    study = generate_uid()
    sent = [make_dataset(b"\0\1" * 4, StudyInstanceUID=study) for _ in range(3)]
    for ds in sent:
        encode(ds)  # gives it its file meta
    client = DICOMwebClient(f"{stow.front.url}/dicom-web")
    module = client.store_instances(sent, study_instance_uid=study)
    assert [one.ReferencedSOPInstanceUID for one in module.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in sent
    ]


def test_a_file_without_preamble_gets_one(stow: Stow) -> None:
    ds = make_dataset(b"\0\1" * 4)
    content = encode(ds)
    for sent in (content[132:], content[128:], content):
        assert stow.store(sent).status == 200
    key = f"main/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
    assert stow.stored()[key] == content
    assert [one.outcome for one in stow.attempts()[-3:]] == ["stored", "duplicate", "duplicate"]
    assert stow.store(content[132 + 12 :][content[132 + 12 :].index(b"\x08\0") :]).status == 409


def test_what_is_sent_twice_at_once_is_stored_once(stow: Stow) -> None:
    ds = make_dataset(b"\0\1" * 4)
    contents = []
    for number in range(2):
        ds.InstanceNumber = number
        contents.append(encode(ds))
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: statuses.append(stow.store(one).status))
        for one in contents * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(statuses) == [200] * 4 + [409] * 4
    key = f"main/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
    assert stow.stored()[key] in contents


def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path: Path) -> None:
    require("nginx")
    with serve(tmp_path) as stow:
        survive(stow)


def survive(stow: Stow) -> None:
    acknowledged: list[bytes] = []
    stopping = threading.Event()

    def send() -> None:
        while not stopping.is_set():
            content = encode(make_dataset(os.urandom(20_000)))
            try:
                if stow.store(content).status == 200:
                    acknowledged.append(content)
            except OSError:
                continue

    senders = [threading.Thread(target=send) for _ in range(4)]
    for thread in senders:
        thread.start()
    for kills in range(1, 4):
        eventually(lambda kills=kills: len(acknowledged) >= 8 * kills)
        stow.function.stop(signal.SIGKILL)
        stow.function.start()
    stopping.set()
    for thread in senders:
        thread.join(120)
    stow.function.stop()
    stow.function.start()  # looks after what was left
    announced = {one.sha256 for one in stow.events()}
    stored = set(stow.stored().values())
    for content in acknowledged:
        assert content in stored
        assert hashlib.sha256(content).hexdigest() in announced
    for content in stored:
        assert hashlib.sha256(content).hexdigest() in announced, "what is there is announced"


def test_the_outbox_of_before_is_taken_again(tmp_path: Path) -> None:
    function = FunctionProcess("stow_rs", tmp_path)
    for _ in range(3):
        function.start()
        function.stop()
    assert [one.name for one in outbox_folders(function.spool)] == ["stow_rs-0"]


def test_every_sample_gets_an_answer(stow: Stow) -> None:
    """What C-STORE would take is taken, the rest is told why; nothing is an error of ours."""
    for path in samples("."):
        content = path.read_bytes()
        answer = stow.store(content)
        assert answer.status in (200, 409), path
        if answer.status == 200:
            (item,) = told(answer).ReferencedSOPSequence
            _, study, _, series, _, instance = item.RetrieveURL.split("/")[-6:]
            kept = (stow.function.archive / f"main/{study}/{series}/{instance}.dcm").read_bytes()
            assert kept[128:132] == b"DICM"
            assert data_set(kept) == data_set(content), path
