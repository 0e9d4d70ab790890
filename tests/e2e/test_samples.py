"""Every sample file: what is acknowledged comes back right, and all counts agree.

Right is its data set byte for byte, and its metadata, bulk data and frames as pydicom has them
of the file that was sent; and dicom3tools' validator finds no more in it.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from struct import iter_unpack
from typing import Any

import pymysql
import pytest
import urllib3
from dicomweb_client.api import DICOMwebClient

from pacsless.identity import InstanceIdentity, SeriesIdentity
from tests import pydicom_reads
from tests.dicom_files import SAMPLES
from tests.eventually import eventually
from tests.gateway import data_set
from tests.services import require

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


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metadata_is_what_pydicom_makes_of_the_file(
    stack: Any, stored: dict[InstanceIdentity, Path]
) -> None:
    def with_bulk_data(element: Any) -> Any:
        """Fetch what an element refers to."""
        if isinstance(element, list):
            return [with_bulk_data(one) for one in element]
        if not isinstance(element, dict):
            return element
        if "BulkDataURI" in element:
            accept = {"Accept": "application/octet-stream"}
            bulk = HTTP.request("GET", stack.url + element["BulkDataURI"], headers=accept)
            assert bulk.status == 200, element["BulkDataURI"]
            if element["vr"] == "FD":  # NaN or infinite, which JSON has not (DECISIONS.md 24)
                return {"vr": "FD", "Value": [one for (one,) in iter_unpack("<d", bulk.data)]}
            return {"vr": element["vr"], "InlineBinary": base64.b64encode(bulk.data).decode()}
        return {tag: with_bulk_data(one) for tag, one in element.items()}

    described: dict[tuple[SeriesIdentity, str], dict[str, Any]] = {}
    for series in {one.series for one in stored}:
        answer = HTTP.request("GET", f"{stack.url}/dicom-web/{series.subject}/metadata")
        assert answer.status == 200, series.subject
        described |= {(series, one["00080018"]["Value"][0]): one for one in answer.json()}
    different = []
    for identity, path in stored.items():
        if path.name in pydicom_reads.EXPLAINED:
            continue
        theirs = pydicom_reads.dicom_json(path)
        ours = described[identity.series, identity.sop_instance_uid]
        del ours["00083002"]  # AvailableTransferSyntaxUID is the archive's
        different += [
            (path.relative_to(SAMPLES).as_posix(), tag)
            for tag in sorted((set(ours) | set(theirs)) - set(pydicom_reads.PIXELS))
            if tag not in ours
            or tag not in theirs
            or pydicom_reads.comparable(with_bulk_data(ours[tag]))
            != pydicom_reads.comparable(theirs[tag])
        ]
    assert not different


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_frames_are_those_pydicom_finds(stack: Any, stored: dict[InstanceIdentity, Path]) -> None:
    client = DICOMwebClient(f"{stack.url}/dicom-web")
    compared, different = 0, []
    for identity, path in stored.items():
        try:
            theirs = pydicom_reads.frames(path)
        except (OSError, ValueError):
            continue  # pydicom raises
        if theirs:
            ours = client.retrieve_instance_frames(
                *identity.uids,
                list(range(1, len(theirs) + 1)),
                media_types=(("application/octet-stream", "*"),),
            )
            compared += len(theirs)
            if ours != theirs:
                different.append(path.relative_to(SAMPLES).as_posix())
    assert not different
    assert compared > 1500


def test_dciodvfy_finds_nothing_new(
    stack: Any, stored: dict[InstanceIdentity, Path], tmp_path: Path
) -> None:
    """What is returned has File Meta Information of ours; what is converted is written by us."""
    require("dciodvfy")
    returned, new = tmp_path / "returned.dcm", []
    explicit = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    seen: Counter[Path] = Counter()
    for identity, path in stored.items():
        seen[path.parent] += 1
        if "series" in path.parts and seen[path.parent] > 2:
            continue  # hundreds that are alike
        before = findings(path)
        for accept in ("application/dicom", explicit):
            answer = HTTP.request(
                "GET", f"{stack.url}/dicom-web/{identity.subject}", headers={"Accept": accept}
            )
            if accept == explicit and (answer.status == 406 or UNREADABLE in before):
                continue  # it is compressed; or deflated, which dciodvfy does not read
            assert answer.status == 200, answer.data
            returned.write_bytes(answer.data)
            if accept == explicit and path.name in OF_RLE_ONLY:
                continue
            if more := findings(returned) - before:
                new.append((path.relative_to(SAMPLES).as_posix(), accept, sorted(more)))
    assert not new


OF_RLE_ONLY = {"YBR_FULL-RLE.dcm"}
"""Ultrasound may be YBR_FULL in RLE only; decoding leaves the colours as they are."""
UNREADABLE = "Error - Dicom dataset read failed"


def findings(path: Path) -> set[str]:
    """What dicom3tools' validator says of a file."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, timeout=60, check=False)
    return set(done.stderr.decode("latin-1").splitlines())


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
