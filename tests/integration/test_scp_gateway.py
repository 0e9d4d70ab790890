"""The gateway over real sockets, with senders of others and of ours; Kafka is down all the time."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)
from pynetdicom import AE
from pynetdicom.presentation import build_context

from pacsless.events import InstanceReceived, InstanceStored
from pacsless.send import send_paths
from pacsless.send.association import Association
from pacsless.send.files import DicomFile, look
from pacsless.send.pdu import Answer, Context, Receiver
from tests.dicom_files import bundled, samples
from tests.eventually import eventually
from tests.gateway import GatewayProcess, data_set, sha256
from tests.instances import encode, make_dataset
from tests.services import require

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    one = GatewayProcess(tmp_path, GATEWAY_AE_TITLES="PACSLESS=default, HOSPITAL_B=hospital-b")
    one.start()
    yield one
    one.close()


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def a_file(
    folder: Path, name: str = "one.dcm", *, pixels: bytes = b"\1\0" * 4, **values: Any
) -> Path:
    path = folder / name
    path.write_bytes(encode(make_dataset(pixels, **values)))
    return path


def looked(path: Path) -> DicomFile:
    found = look(path)
    assert isinstance(found, DicomFile)
    return found


def receiver(gateway: GatewayProcess) -> Receiver:
    return Receiver("127.0.0.1", gateway.port, "PACSLESS", "TEST", 60)


def store(gateway: GatewayProcess, path: Path, sop_instance_uid: str | None = None) -> Answer:
    file = looked(path)
    with Association(
        receiver(gateway), [Context(file.sop_class_uid, file.transfer_syntax)]
    ) as association:
        if sop_instance_uid is not None:
            file = DicomFile(
                file.path, file.data_set_offset, file.data_set_bytes, file.transfer_syntax,
                file.sop_class_uid, sop_instance_uid, "", "",
            )  # fmt: skip
        return association.store(file)


# -- senders of others


def test_echo_and_an_unknown_called_title(gateway: GatewayProcess) -> None:
    require("echoscu")
    said = run("/usr/bin/echoscu", "-v", "-aec", "PACSLESS", "127.0.0.1", str(gateway.port))
    assert "Received Echo Response (Success)" in said
    said = run("/usr/bin/echoscu", "-aec", "NOBODY", "127.0.0.1", str(gateway.port))
    assert "Called AE Title Not Recognized" in said
    assert "Rejected Permanent" in said


def test_storescu_and_the_tenant_of_the_called_title(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    require("storescu")
    path = a_file(tmp_path)
    file = looked(path)
    for called, tenant in (("PACSLESS", "default"), ("HOSPITAL_B", "hospital-b")):
        said = run("/usr/bin/storescu", "-v", "-xe", "-aet", "CT1", "-aec", called,
                   "127.0.0.1", str(gateway.port), path)  # fmt: skip
        assert "Received Store Response (Success)" in said
        key = (
            f"{tenant}/{file.study_instance_uid}/{file.series_instance_uid}/"
            f"{file.sop_instance_uid}.dcm"
        )
        kept = gateway.stored()[key]
        assert kept.startswith(bytes(128) + b"DICM")
        event = gateway.promised(InstanceStored)[-1]
        assert isinstance(event, InstanceStored)
        assert (event.tenant_id, event.file_path, event.sha256) == (tenant, key, sha256(kept))
        assert (event.file_size, event.patient_id) == (len(kept), "P-1")
        assert (event.calling_ae_title, event.called_ae_title) == ("CT1", called)
        assert event.remote_address == "127.0.0.1"
    assert len(gateway.stored()) == 2


def test_dcmsend_sends_a_folder(gateway: GatewayProcess, tmp_path: Path) -> None:
    require("dcmsend")
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(20):
        a_file(folder, f"{number}.dcm")
    said = run("/usr/bin/dcmsend", "-v", "+sd", "+r", "-aec", "PACSLESS", "127.0.0.1",
               str(gateway.port), folder)  # fmt: skip
    assert "with status SUCCESS  : 20" in said.replace("\t", " ") or said.count("0x0000") >= 20
    kept = {sha256(data_set(content)) for content in gateway.stored().values()}
    assert kept == {sha256(data_set(path.read_bytes())) for path in folder.iterdir()}


def test_the_senders_first_choice_of_transfer_syntax_is_taken(gateway: GatewayProcess) -> None:
    for proposed in (
        [JPEGBaseline8Bit, ImplicitVRLittleEndian],
        [ImplicitVRLittleEndian, ExplicitVRLittleEndian],
        ["1.2.3.4.5.6", JPEG2000Lossless, ImplicitVRLittleEndian],
    ):
        ae = AE()
        association = ae.associate(
            "127.0.0.1", gateway.port, [build_context(CTImageStorage, list(map(str, proposed)))],
            ae_title="PACSLESS",
        )  # fmt: skip
        assert association.is_established
        accepted = association.accepted_contexts[0].transfer_syntax
        association.release()
        assert accepted == [proposed[1] if proposed[0] == "1.2.3.4.5.6" else proposed[0]]


def test_pynetdicom_sends(gateway: GatewayProcess) -> None:
    ds = make_dataset(b"\0\1" * 4)
    encode(ds)  # gives it its file meta
    association = AE().associate(
        "127.0.0.1", gateway.port, [build_context(CTImageStorage, ExplicitVRLittleEndian)],
        ae_title="PACSLESS",
    )  # fmt: skip
    assert association.send_c_store(ds).Status == 0
    association.release()
    assert len(gateway.stored()) == 1


# -- every file


def test_every_bundled_file_is_kept_byte_for_byte_or_honestly_refused(
    gateway: GatewayProcess,
) -> None:
    _send_and_compare(gateway, bundled(), at_least=35)


def test_every_sample_is_kept_byte_for_byte_or_honestly_refused(gateway: GatewayProcess) -> None:
    folders = ("charsets", "documents", "hostile", "odd", "seg-pm-sr", "transfer-syntaxes")
    files = samples(*folders)
    if not files:
        pytest.skip("needs ../shared/dicom-samples")
    _send_and_compare(gateway, files, at_least=250)
    outside = [path for path in gateway.archive.parent.rglob("*") if "pwn" in path.name]
    assert not outside and not Path("/etc/cron.d/x1").exists()


def _send_and_compare(gateway: GatewayProcess, files: list[Path], at_least: int) -> None:
    summary = send_paths(files, gateway.options())
    assert {one.status for one in summary.files} <= {0x0000, 0x0111, 0xA900, 0xC000, None}
    unanswered = [one for one in summary.files if one.status is None]
    assert all("does not take transfer syntax" in one.detail for one in unanswered), unanswered
    stored = gateway.stored()
    originals = {key: data_set(value) for key, value in stored.items() if "quarantine" not in key}
    aside = {sha256(data_set(value)) for key, value in stored.items() if "quarantine" in key}
    for one in summary.files:
        file = one.file
        key = (
            f"default/{file.study_instance_uid}/{file.series_instance_uid}/"
            f"{file.sop_instance_uid}.dcm"
        )
        sent = data_set(file.path.read_bytes())
        if one.status == 0:
            assert originals[key] == sent, file.path
        elif one.status == 0x0111:
            assert originals[key] != sent, file.path
            assert sha256(sent) in aside, file.path
    assert sum(one.status == 0 for one in summary.files) >= at_least
    assert gateway.get("/readyz") == (200, "ready\n")
    assert not gateway.incoming()
    assert not gateway.lines("a thread failed") and not gateway.lines("a connection failed")
    assert not [line for line in gateway.lines("instance refused") if line["level"] == "ERROR"]
    # Attempts on record, one for each answer.
    answered = [one for one in summary.files if one.status is not None]
    assert len(gateway.promised(InstanceReceived)) == len(answered)


# -- the same, and not the same


def test_the_same_again_is_success_and_repeats_the_event(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    path = a_file(tmp_path)
    assert store(gateway, path).status == store(gateway, path).status == 0
    assert len(gateway.stored()) == 1 and not gateway.incoming()
    first, second = gateway.promised(InstanceStored)
    assert first.id == second.id
    outcomes = [one.outcome for one in gateway.promised(InstanceReceived)]  # type: ignore[attr-defined]
    assert outcomes == ["stored", "duplicate"]


def test_other_content_is_put_aside(gateway: GatewayProcess, tmp_path: Path) -> None:
    uids: dict[str, Any] = {
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
    }
    first = a_file(tmp_path, "first.dcm", **uids)
    second = a_file(tmp_path, "second.dcm", pixels=b"\7\7" * 4, **uids)
    assert store(gateway, first).status == 0
    for _ in range(2):
        answer = store(gateway, second)
        assert answer.status == 0x0111
        assert "stored with other content" in answer.comment
    stored = gateway.stored()
    assert data_set(stored["default/1.2/1.2.3/1.2.3.4.dcm"]) == data_set(first.read_bytes())
    (aside,) = [key for key in stored if key != "default/1.2/1.2.3/1.2.3.4.dcm"]
    assert aside == f"quarantine/default/1.2/1.2.3/1.2.3.4.{sha256(stored[aside])}.dcm"
    assert data_set(stored[aside]) == data_set(second.read_bytes())
    assert len(gateway.promised(InstanceStored)) == 1
    assert gateway.metric("instances_total", outcome="quarantined", status="0111") == 2
    received = gateway.promised(InstanceReceived)[-1]
    assert isinstance(received, InstanceReceived)
    assert (received.status, received.outcome) == (0x0111, "quarantined")


@pytest.mark.parametrize("same", [True, False])
def test_two_senders_of_one_instance_at_once(
    gateway: GatewayProcess, tmp_path: Path, same: bool
) -> None:
    for number in range(8):
        uids: dict[str, Any] = {
            "SOPInstanceUID": f"1.2.3.{number}",
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": "1.2.3",
        }
        contents = [b"\1\1" * 4] * 4 if same else [bytes([n, n]) * 4 for n in range(4)]
        paths = [
            a_file(tmp_path, f"{n}.dcm", pixels=pixels, **uids) for n, pixels in enumerate(contents)
        ]
        together = threading.Barrier(len(paths))
        statuses: dict[Path, int] = {}

        def send(
            path: Path, together: threading.Barrier = together, found: dict[Path, int] = statuses
        ) -> None:
            together.wait(30)
            found[path] = store(gateway, path).status

        threads = [threading.Thread(target=send, args=(path,)) for path in paths]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        kept = data_set(gateway.stored()[f"default/1.2/1.2.3/1.2.3.{number}.dcm"])
        if same:
            assert set(statuses.values()) == {0}
        else:
            assert sorted(statuses.values()) == [0, 0x0111, 0x0111, 0x0111]
            (winner,) = [path for path, status in statuses.items() if status == 0]
            assert kept == data_set(winner.read_bytes())
    assert not gateway.incoming()


# -- refusals


def test_a_data_set_that_is_not_the_commands(gateway: GatewayProcess, tmp_path: Path) -> None:
    answer = store(gateway, a_file(tmp_path), sop_instance_uid="1.2.3")
    assert (answer.status, answer.comment[:8]) == (0xA900, "mismatch")
    assert not gateway.stored() and not gateway.incoming()


@pytest.mark.parametrize(
    "uid", ["../../../pwned", "/etc/pwned", "1" * 65, "1.2\\1.3", "", "1.2.x", "1..2"]
)
def test_what_is_no_uid_becomes_no_path(gateway: GatewayProcess, tmp_path: Path, uid: str) -> None:
    path = a_file(tmp_path)
    file = looked(path)
    with Association(
        receiver(gateway), [Context(file.sop_class_uid, file.transfer_syntax)]
    ) as association:
        bad = DicomFile(path, file.data_set_offset, 0, file.transfer_syntax,
                        file.sop_class_uid, uid, "", "")  # fmt: skip
        assert association.store(bad).status == 0xC000
        assert association.store(file).status == 0, "the next one arrives"
    assert len(gateway.stored()) == 1 and not gateway.incoming()
    refused = gateway.promised(InstanceReceived)[0]
    assert isinstance(refused, InstanceReceived)
    assert (refused.outcome, refused.sop_instance_uid) == ("refused", "")
    assert "pwned" not in gateway.log.read_text()


def test_a_missing_uid_is_named(gateway: GatewayProcess, tmp_path: Path) -> None:
    path = a_file(tmp_path, StudyInstanceUID=None)
    assert store(gateway, path) == (0xC000, "missing-uid: the data set has no StudyInstanceUID")


def test_sop_classes_nobody_has_heard_of(tmp_path: Path) -> None:
    path = a_file(tmp_path, SOPClassUID="1.2.826.0.1.3680043.9.9999.1")
    for option, status in (("false", None), ("true", 0)):
        folder = tmp_path / option
        folder.mkdir()
        gateway = GatewayProcess(folder, GATEWAY_ANY_SOP_CLASS=option)
        gateway.start()
        try:
            assert send_paths([path], gateway.options()).files[0].status == status
        finally:
            gateway.close()


def test_the_high_water_mark_rejects_for_now(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, GATEWAY_HIGH_WATER_PERCENT="0")
    gateway.start()
    try:
        (result,) = send_paths([a_file(tmp_path)], gateway.options()).files
        assert result.detail.endswith("association rejected for now: local limit exceeded")
        assert gateway.get("/readyz")[0] == 503
    finally:
        gateway.close()


def test_a_full_disk_is_said_and_recovered_from(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mount],
            check=False,
            capture_output=True,
        ).returncode
    ):
        pytest.skip("needs root to mount a small file system")
    gateway = GatewayProcess(
        tmp_path, ARCHIVE=f"file://{mount}/archive", GATEWAY_HIGH_WATER_PERCENT="100"
    )
    try:
        gateway.start()
        big = a_file(tmp_path, "big.dcm", pixels=bytes(5_000_000))
        small = a_file(tmp_path, "small.dcm")
        assert store(gateway, big).status == 0xA700
        assert store(gateway, small).status == 0
        assert not list((mount / "archive" / ".incoming").iterdir())
    finally:
        gateway.close()
        eventually(lambda: subprocess.run(["umount", mount], check=False).returncode == 0)


# -- hostile peers


def test_broken_protocol_ends_its_own_association_only(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    path = a_file(tmp_path)
    file = looked(path)
    context = Context(file.sop_class_uid, file.transfer_syntax)
    with Association(receiver(gateway), [context]) as bystander:
        for attack in (
            b"\x04\0\xff\xff\xff\xf0" + b"x" * 100_000,  # a PDU of 4 GiB
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x04\0\0\0\0\x08\0\0\0\x04\x01\x00\0\0",  # a data set before any command
            b"\x04\0\0\0\0\x0a\0\0\0\x06\x01\x03\xff\xff\xff\xff",  # no command set
            b"\x04\0\0\0\0\x05\0\0\0\xff\x01",  # a fragment longer than its PDU
            b"\x09\0\0\0\0\x00",
        ):
            victim = Association(receiver(gateway), [context])
            victim._socket.sendall(attack)
            victim._socket.settimeout(60)
            while victim._socket.recv(4096):  # an A-ABORT perhaps, then the end
                pass
            victim.close()
        assert bystander.store(file).status == 0
    assert gateway.peak_memory() < 250 << 20
    assert not gateway.incoming()
    eventually(lambda: gateway.metric("associations") == 0)


def test_an_endless_command_set_is_cut_short(gateway: GatewayProcess, tmp_path: Path) -> None:
    file = looked(a_file(tmp_path))
    victim = Association(receiver(gateway), [Context(file.sop_class_uid, file.transfer_syntax)])
    fragment = b"\x04\0\0\0\x40\x06\0\0\x40\x02\x01\x01" + bytes(0x4000)
    victim._socket.settimeout(60)
    victim._socket.sendall(fragment * 10)
    assert victim._file.read(1) == b"\x07", "an A-ABORT"
    victim.close()
    eventually(lambda: gateway.metric("associations") == 0)


def test_a_sender_that_vanishes_leaves_nothing(gateway: GatewayProcess, tmp_path: Path) -> None:
    path = a_file(tmp_path, pixels=bytes(2_000_000))
    file = looked(path)
    context = Context(file.sop_class_uid, file.transfer_syntax)
    association = Association(receiver(gateway), [context])
    association._send(_beginning(association, file))
    eventually(gateway.incoming)
    association.close()
    eventually(lambda: not gateway.incoming())
    assert not gateway.stored()
    line = eventually(lambda: gateway.lines("association ended"))[0]
    assert line["end"] == "aborted" and line["instances"] == {}


def _beginning(association: Association, file: DicomFile) -> bytes:
    """The command, and the first bytes of the data set."""
    from pacsless.send.pdu import COMMAND, LAST, p_data_header, store_rq

    command = store_rq(1, file.sop_class_uid, file.sop_instance_uid)
    some = file.path.read_bytes()[file.data_set_offset :][:1000]
    return (
        p_data_header(1, COMMAND | LAST, len(command)) + command
        + p_data_header(1, 0, len(some)) + some
    )  # fmt: skip


def test_more_associations_than_allowed_are_rejected_for_now(
    tmp_path: Path,
) -> None:
    gateway = GatewayProcess(tmp_path, GATEWAY_MAX_ASSOCIATIONS="2")
    gateway.start()
    try:
        file = looked(a_file(tmp_path))
        context = Context(file.sop_class_uid, file.transfer_syntax)
        open_ones = [Association(receiver(gateway), [context]) for _ in range(2)]
        (result,) = send_paths([file.path], gateway.options()).files
        assert "rejected for now: local limit exceeded" in result.detail
        open_ones.pop().__exit__(None, None, None)
        eventually(lambda: send_paths([file.path], gateway.options()).files[0].status == 0)
    finally:
        gateway.close()


def test_connections_that_say_nothing_are_ended(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, GATEWAY_ASSOCIATION_SECONDS="1", GATEWAY_IDLE_SECONDS="1")
    gateway.start()
    try:
        with socket.create_connection(("127.0.0.1", gateway.port)) as silent:
            silent.settimeout(60)
            assert silent.recv(1) == b""
        file = looked(a_file(tmp_path))
        idle = Association(receiver(gateway), [Context(file.sop_class_uid, file.transfer_syntax)])
        assert idle._file.read(1) == b"\x07", "an A-ABORT"
        eventually(lambda: gateway.metric("associations") == 0)
    finally:
        gateway.close()


# -- size, life and telling


def test_memory_does_not_grow_with_the_object(gateway: GatewayProcess, tmp_path: Path) -> None:
    store(gateway, a_file(tmp_path, "small.dcm"))
    before = gateway.peak_memory()
    path = a_file(tmp_path, "big.dcm", pixels=bytes(96 << 20))
    assert store(gateway, path).status == 0
    assert gateway.peak_memory() - before < 24 << 20


def test_sigterm_lets_an_instance_finish(gateway: GatewayProcess, tmp_path: Path) -> None:
    from pacsless.send.pdu import LAST, p_data_header

    file = looked(a_file(tmp_path))
    association = Association(
        receiver(gateway), [Context(file.sop_class_uid, file.transfer_syntax)]
    )
    association._send(_beginning(association, file))
    assert gateway.process is not None
    gateway.process.terminate()
    eventually(lambda: gateway.get("/readyz") == (503, "stopping\n"))
    rest = file.path.read_bytes()[file.data_set_offset :][1000:]
    association._send(p_data_header(1, LAST, len(rest)) + rest)
    assert association._answer().status == 0
    assert gateway.process.wait(60) == 0
    assert len(gateway.stored()) == 1
    assert gateway.lines("stopped")


def test_one_line_an_association_and_no_patient_in_it(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    a_file(tmp_path, "good.dcm", PatientName="Canary^Name", PatientID="CANARY-ID")
    a_file(tmp_path, "bad.dcm", StudyInstanceUID="Canary^Study", PatientName="Canary^Name")
    send_paths([tmp_path / "good.dcm", tmp_path / "bad.dcm"], gateway.options())
    (line,) = eventually(lambda: gateway.lines("association ended"))
    assert line["instances"] == {"0000": 1, "C000": 1}
    assert (line["end"], line["tenant"], line["calling"]) == (
        "released", "default", "PACSLESS_SEND",
    )  # fmt: skip
    assert "anary" not in gateway.log.read_text()
    assert "CANARY" not in gateway.log.read_text()
    assert "anary" not in gateway.get("/metrics")[1]


def test_the_admin_port(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert gateway.get("/healthz") == (200, "ok\n")
    assert gateway.get("/nothing")[0] == 404
    store(gateway, a_file(tmp_path))
    assert gateway.metric("instances_total", outcome="stored", status="0000") == 1
    assert gateway.metric("received_bytes_total") > 100
    assert gateway.metric("outbox_depth") == 2
    eventually(lambda: gateway.metric("outbox_oldest_seconds") > 0)


def test_two_gateways_do_not_share_a_spool(gateway: GatewayProcess, tmp_path: Path) -> None:
    second = GatewayProcess(tmp_path)
    second.log = tmp_path / "second.log"
    with pytest.raises(RuntimeError):
        second.start()
    assert "belongs to process" in second.log.read_text()
    assert second.process is not None and second.process.wait(30) == 1
