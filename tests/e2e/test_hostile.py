"""Hostile files end nothing: an honest status, or kept and dead-lettered with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.e2e.test_samples import SAMPLES, quiet, send
from tests.eventually import eventually

HTTP = urllib3.PoolManager()
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/dicom-samples")


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
    assert stack.status()["dead_letters"].get("storage_queue", 0) >= 1
    outside = [p for p in stack.archive_root.parent.rglob("*") if "etc" in p.parts]
    assert not outside


def test_no_patient_data_in_logs_or_dead_letters(stack: Any) -> None:
    # Names the hostile and the charset samples carry.
    secrets = [b"DROP TABLE", b"<script", b"Hostile^", b"Yamada", "王".encode(), b"cmd|"]
    for log in stack.log_folder.rglob("*.log"):
        text = log.read_bytes()
        assert not [secret for secret in secrets if secret in text], log.name
