"""Every sample file: what is acknowledged is kept byte for byte, and all counts agree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pymysql
import pytest
import urllib3

from pacsless.identity import InstanceIdentity
from tests.dicom_files import SAMPLES
from tests.eventually import eventually
from tests.gateway import data_set

ROOT = Path(__file__).parents[2]
HTTP = urllib3.PoolManager(maxsize=8)

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/dicom-samples")


def send(stack: Any, *paths: Path) -> dict[str, Any]:
    """Run `pacsless send --json` and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "pacsless", "send", "--json", "--port", str(stack.dicom_port),
         *map(str, paths)],
        cwd=ROOT, env=stack.environ, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def stored(stack: Any) -> dict[InstanceIdentity, Path]:
    """Send all folders but ``hostile``; return the file of every instance answered 0x0000."""
    folders = sorted(p for p in SAMPLES.iterdir() if p.is_dir() and p.name != "hostile")
    summary = send(stack, *folders)
    assert summary["files"] and len(summary["files"]) >= 1300
    found = {}
    for one in summary["files"]:
        if one["status"] == 0:
            found[
                InstanceIdentity(
                    "default",
                    one["study_instance_uid"],
                    one["series_instance_uid"],
                    one["sop_instance_uid"],
                )
            ] = Path(one["path"])
    return found


def quiet(stack: Any) -> bool:
    """Whether every event has been handled."""
    status = stack.status()
    if status["lag"] is None or status["outbox"] is None:
        return False  # a broker that has just come back cannot be asked yet
    lag = sum(lag for topics in status["lag"].values() for lag in topics.values())
    return bool(lag == 0 and status["outbox"]["depth"] == 0)


def test_every_acknowledged_data_set_comes_back(
    stack: Any, stored: dict[InstanceIdentity, Path]
) -> None:
    different = []
    for identity, path in stored.items():
        url = f"{stack.url}/dicom-web/{identity.subject}"
        sent = data_set(path.read_bytes())
        single = HTTP.request("GET", url, headers={"Accept": "application/dicom"})
        several = HTTP.request(
            "GET", url, headers={"Accept": 'multipart/related; type="application/dicom"'}
        )
        boundary = several.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        part = several.data.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2][:-2]
        if single.status != 200 or data_set(single.data) != sent or data_set(part) != sent:
            different.append(path.name)
    assert not different
    # The rest states no usable identity or repeats one with other content, as intended.
    assert len(stored) >= 1270


def test_counts_agree_everywhere(stack: Any, stored: dict[InstanceIdentity, Path]) -> None:
    eventually(lambda: quiet(stack), within=300)
    letters = json.loads(stack.run("dlq", "list", "--each", "--json").stdout)["dead_letters"]
    files = {
        InstanceIdentity.of_key(path.relative_to(stack.archive_root).as_posix())
        for path in (stack.archive_root / "default").rglob("*.dcm")
    }
    assert set(stored) <= files
    # One that is announced again, by a rebuild perhaps, makes another letter.
    unindexed = len({one["subject"] for one in letters if one["topic"].startswith("storage_queue")})
    ledger = {row[0] for row in stack.sql("SELECT sop_instance_uid FROM instance")}

    def warehouse() -> int:
        connection = pymysql.connect(**stack.mysql)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM dicom_image_meta")
            row = cursor.fetchone()
            assert row is not None
            return int(row[0])

    rows = stack.sql("SELECT count(*) FROM instance")[0][0]
    assert rows == warehouse()
    # What could not be parsed is in the dead letters, kept and retrievable.
    assert rows == len(files) - unindexed, f"{unindexed} dead letters"
    per_study = Counter(one.study_instance_uid for one in files)
    described = 0
    for study in per_study:
        answer = HTTP.request("GET", f"{stack.url}/dicom-web/studies/{study}/metadata")
        assert answer.status == 200, study
        described += len(answer.json())
    assert described == rows
    assert ledger <= {one.sop_instance_uid for one in files}
