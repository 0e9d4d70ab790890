"""Hostile files end nothing: an honest status, or kept and dead-lettered with a reason."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.dicom_files import SAMPLES
from tests.e2e.test_samples import quiet, send
from tests.eventually import eventually
from tests.gateway import data_set

HTTP = urllib3.PoolManager()
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/dicom-samples")


def with_own_identity(name: str, folder: Path) -> Path:
    """Copy a hostile file under a SOP Instance UID no other sample has, its length unchanged."""
    data = (SAMPLES / "hostile" / name).read_bytes()
    uid = re.search(rb"2\.25\.[0-9]{30,}", data[data.index(b"\x08\x00\x18\x00") :])
    assert uid is not None
    own = uid[0][:-6] + f"{zlib.crc32(name.encode()) % 900_000 + 100_000}".encode()
    path = folder / name
    path.write_bytes(data.replace(uid[0], own))
    return path


def test_a_file_that_cannot_be_parsed_is_dead_lettered_and_stays_retrievable(
    stack: Any, tmp_path: Path
) -> None:
    before = stack.status()["dead_letters"].get("storage_queue", 0)
    summary = send(stack, with_own_identity("nested_sequences_2000.dcm", tmp_path))
    (one,) = summary["files"]
    assert one["status"] == 0
    eventually(lambda: quiet(stack), within=120)
    assert stack.status()["dead_letters"]["storage_queue"] == before + 1
    told = json.loads(stack.run("dlq", "list", "--each", "--since", "1h", "--json").stdout)
    (letter,) = (row for row in told["dead_letters"] if one["sop_instance_uid"] in row["subject"])
    assert (letter["function"], letter["code"]) == ("extract_tags", "too-deep")
    url = (
        f"{stack.url}/dicom-web/studies/{one['study_instance_uid']}/series/"
        f"{one['series_instance_uid']}/instances/{one['sop_instance_uid']}"
    )
    answer = HTTP.request("GET", url, headers={"Accept": "application/dicom"})
    assert answer.status == 200
    assert data_set(answer.data) == data_set((tmp_path / "nested_sequences_2000.dcm").read_bytes())


def test_what_is_sent_beside_hostile_files_arrives(stack: Any, tmp_path: Path) -> None:
    good = sorted((SAMPLES / "series" / "mr-dcm4che-16").rglob("*.dcm"))[:4]
    assert good
    before = {part["name"]: part["pid"] for part in stack.status()["parts"]}
    summary = send(stack, SAMPLES / "hostile", *good)
    by_name = {Path(one["path"]).name: one for one in summary["files"]}
    assert [by_name[path.name]["status"] for path in good] == [0] * len(good)
    for name in ("traversal_StudyInstanceUID.dcm", "uid_embedded_nul.dcm",
                 "missing_StudyInstanceUID.dcm"):  # fmt: skip
        assert by_name[name]["status"] != 0, name
    eventually(lambda: quiet(stack), within=300)
    for one in summary["files"]:
        if one["status"] == 0:
            url = (
                f"{stack.url}/dicom-web/studies/{one['study_instance_uid']}/series/"
                f"{one['series_instance_uid']}/instances/{one['sop_instance_uid']}"
            )
            answer = HTTP.request("GET", url, headers={"Accept": "application/dicom"})
            assert answer.status == 200, one["path"]
    after = {part["name"]: part["pid"] for part in stack.status()["parts"]}
    assert after["scp-gateway"] == before["scp-gateway"], "the gateway was never restarted"
    known = {"default", "metadata", "renditions", "quarantine", ".incoming"}
    assert {path.name for path in stack.archive_root.iterdir()} <= known
    assert not list(stack.archive_root.parent.glob("*.dcm"))


def test_no_patient_data_in_logs_or_dead_letters(stack: Any) -> None:
    # Names the hostile and the charset samples carry.
    secrets = [b"DROP TABLE", b"<script", b"Hostile^", b"Yamada", "王".encode(), b"cmd|"]
    for log in stack.log_folder.rglob("*.log"):
        text = log.read_bytes()
        assert not [secret for secret in secrets if secret in text], log.name
    told = stack.run("dlq", "list", "--each")
    assert told.returncode == 0, told.stderr
    assert not [secret for secret in secrets if secret in told.stdout.encode()]
