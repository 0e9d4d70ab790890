"""Deleting on a whole stack: gone from every address at once, and from all that is derived."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import urllib3

from pacsless.identity import InstanceIdentity
from tests.crash.checks import Violations
from tests.e2e.conftest import Stack, temporary_stack
from tests.e2e.test_samples import send
from tests.eventually import eventually
from tests.faults.replay import compare, replay, take
from tests.faults.system import System
from tests.instances import encode, make_dataset

HTTP = urllib3.PoolManager(retries=False, timeout=120)
WITHIN = 180.0
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    environ = {"PACSLESS_RECONCILE_REPAIR": "no", "PACSLESS_DELETE": "yes"}
    with temporary_stack(request, environ) as running:
        yield running


def settled(stack: Stack) -> None:
    assert not System(stack.settings).quiet(WITHIN).problem


def ask(stack: Stack, method: str, path: str) -> urllib3.BaseHTTPResponse:
    return HTTP.request(method, f"{stack.url}{path}")


def make_study(stack: Stack, folder: Path, *sizes: int) -> list[InstanceIdentity]:
    """Send a study of series with so many images."""
    folder.mkdir(parents=True, exist_ok=True)
    study, found, paths = str(make_dataset().StudyInstanceUID), [], []
    for size in sizes:
        series = str(make_dataset().SeriesInstanceUID)
        for number in range(1, size + 1):
            one = make_dataset(
                pixels=bytes(8), StudyInstanceUID=study, SeriesInstanceUID=series,
                InstanceNumber=number,
            )  # fmt: skip
            paths.append(folder / f"{len(paths)}.dcm")
            paths[-1].write_bytes(encode(one))
            found.append(InstanceIdentity("default", study, series, str(one.SOPInstanceUID)))
    assert {one["status"] for one in send(stack, *paths)["files"]} == {0}
    return found


def addresses(one: InstanceIdentity) -> list[str]:
    """Every address that an instance answers at, by itself."""
    instance = f"/dicom-web/{one.subject}"
    query = (
        f"requestType=WADO&studyUID={one.study_instance_uid}"
        f"&seriesUID={one.series_instance_uid}&objectUID={one.sop_instance_uid}"
    )
    return [
        instance, f"{instance}/metadata", f"{instance}/rendered", f"{instance}/thumbnail",
        f"{instance}/frames/1", f"{instance}/frames/1/rendered",
        f"{instance}/frames/1/thumbnail", f"{instance}/bulkdata/7FE00010", f"/wado?{query}",
        f"/wado?{query}&contentType=image/jpeg", f"/wado?{query}&contentType=application/dicom",
    ]  # fmt: skip


def above(one: InstanceIdentity, *levels: str) -> list[str]:
    """Addresses of its series, or its study."""
    series = f"/dicom-web/{one.series.subject}"
    roots = {"series": series, "study": series.partition("/series/")[0]}
    return [
        f"{roots[level]}{resource}"
        for level in levels
        for resource in ("", "/metadata", "/rendered", "/thumbnail")
    ]


def rows(stack: Stack, one: InstanceIdentity) -> dict[str, bool]:
    with pymysql.connect(**stack.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sop_instance_uid, is_deleted FROM dicom_image_meta"
            " WHERE study_instance_uid = %s",
            (one.study_instance_uid,),
        )
        return {sop: bool(gone) for sop, gone in cursor.fetchall()}


def changes(stack: Stack, one: InstanceIdentity) -> list[tuple[str, str]]:
    found, offset = [], 0
    while page := ask(
        stack, "GET", f"/dicom-web/changefeed?includeMetadata=false&offset={offset}"
    ).json():
        offset = page[-1]["sequence"]
        found += [
            (entry["action"], entry["state"])
            for entry in page
            if entry["sopInstanceUid"] == one.sop_instance_uid
        ]
    return found


@pytest.mark.parametrize("level", ["instance", "series", "study"])
def test_a_level_is_gone_everywhere(stack: Stack, tmp_path: Path, level: str) -> None:
    stored = make_study(stack, tmp_path / "sent", 3, 2)
    settled(stack)
    gone = {"instance": stored[:1], "series": stored[:3], "study": stored}[level]
    left = [one for one in stored if one not in gone]
    path = {
        "instance": stored[0].subject, "series": stored[0].series.subject,
        "study": f"studies/{stored[0].study_instance_uid}",
    }[level]  # fmt: skip
    levels = {"instance": (), "series": ("series",), "study": ("series", "study")}[level]
    dead = [address for one in gone for address in addresses(one)] + above(stored[0], *levels)
    for address in dead:  # pictures are in nginx's cache now, and facts in Redis
        assert ask(stack, "GET", address).status == 200, address

    assert ask(stack, "DELETE", f"/dicom-web/{path}").status == 204
    for address in dead:
        assert ask(stack, "GET", address).status == 404, address
    for one in left:
        for address in addresses(one):
            assert ask(stack, "GET", address).status == 200, address
    if left:
        study = f"/dicom-web/studies/{left[0].study_instance_uid}"
        told = ask(stack, "GET", f"{study}/metadata").json()
        sops = {entry["00080018"]["Value"][0] for entry in told}
        assert sops == {one.sop_instance_uid for one in left}

    settled(stack)
    assert rows(stack, stored[0]) == {one.sop_instance_uid: one in gone for one in stored}
    study = stored[0].study_instance_uid
    found = ask(stack, "GET", f"/dicom-web/instances?StudyInstanceUID={study}").json()
    assert {entry["00080018"]["Value"][0] for entry in found} == {
        one.sop_instance_uid for one in left
    }
    studies = ask(stack, "GET", f"/dicom-web/studies?StudyInstanceUID={study}").json()
    assert [entry["00201208"]["Value"] for entry in studies] == [[len(left)]] * bool(left)
    assert {tuple(changes(stack, one)) for one in gone} == {
        (("create", "deleted"), ("delete", "deleted"))
    }
    metadata = stack.archive_root / "metadata" / "default" / f"{study}.json"
    assert metadata.exists() is bool(left)
    kept = {one.parent.parent.name for one in stack.archive_root.glob("default/*/*/*.dcm")}
    assert (study in kept) is bool(left)


def test_audited(stack: Stack, tmp_path: Path) -> None:
    (one,) = make_study(stack, tmp_path / "sent", 1)
    assert ask(stack, "DELETE", f"/dicom-web/{one.subject}").status == 204
    query = (
        "SELECT method, route, status, sop_instance_uid FROM wado_access_log"
        f" WHERE method = 'DELETE' AND study_instance_uid = '{one.study_instance_uid}'"
    )

    def logged() -> Any:
        with pymysql.connect(**stack.mysql) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    assert eventually(logged) == (("DELETE", "delete_instance", 204, one.sop_instance_uid),)


def test_stored_again_replayed_and_rebuilt(stack: Stack, tmp_path: Path) -> None:
    """Some of it deleted, some of that sent again: so it stays, whatever is handled again."""
    stored = make_study(stack, tmp_path / "sent", 4)
    settled(stack)
    for one in stored[:3]:
        assert ask(stack, "DELETE", f"/dicom-web/{one.subject}").status == 204
    settled(stack)
    assert send(stack, tmp_path / "sent" / "0.dcm")["files"][0]["status"] == 0
    settled(stack)
    assert changes(stack, stored[0]) == [
        ("create", "replaced"), ("delete", "replaced"), ("create", "current"),
    ]  # fmt: skip
    # Once more at once: nobody waits for events.
    assert ask(stack, "DELETE", f"/dicom-web/{stored[3].subject}").status == 204
    assert send(stack, tmp_path / "sent" / "3.dcm")["files"][0]["status"] == 0
    assert ask(stack, "GET", f"/dicom-web/{stored[3].subject}").status == 200
    settled(stack)
    there = {one.sop_instance_uid: one in stored[1:3] for one in stored}
    assert rows(stack, stored[0]) == there

    system = System(stack.settings)
    before = take(system)
    assert not replay(system, WITHIN).problem
    violations = Violations()
    compare(before, take(system), violations)
    assert not violations, violations.shown
    assert stack.status()["dead_letters"] == {}

    shutil.rmtree(stack.archive_root / "metadata")
    stack.sql(
        "TRUNCATE patient, study, series, instance, metadata_document, change, change_feed CASCADE"
    )
    told = stack.run("rebuild", "--tenant", "default", "--json")
    assert told.returncode == 0, told.stderr
    assert rows(stack, stored[0]) == there
    study = stored[0].study_instance_uid
    found = ask(stack, "GET", f"/dicom-web/instances?StudyInstanceUID={study}").json()
    assert {entry["00080018"]["Value"][0] for entry in found} == {
        one.sop_instance_uid for one in (stored[0], stored[3])
    }
    compared = stack.run("reconcile", "--settle", "0", "--json")
    assert compared.returncode == 0, compared.stdout


def test_a_kill_in_the_midst(stack: Stack, tmp_path: Path) -> None:
    stored = make_study(stack, tmp_path / "sent", 150)
    settled(stack)
    path = f"/dicom-web/studies/{stored[0].study_instance_uid}"
    answered: list[int] = []
    request = threading.Thread(target=lambda: answered.append(ask(stack, "DELETE", path).status))
    request.start()
    tombstones = (stack.archive_root / stored[0].tombstone_key).parent
    eventually(tombstones.exists)
    assert System(stack.settings).signal("stow_rs", signal.SIGKILL, worker=0)
    request.join()
    port = stack.settings.ports.functions["stow_rs"]

    def is_ready() -> bool:
        try:
            return HTTP.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    eventually(is_ready)
    settled(stack)
    there = {one for one in stored if (stack.archive_root / one.key).exists()}
    assert rows(stack, stored[0]) == {one.sop_instance_uid: one not in there for one in stored}
    assert answered in ([503], [204])
    assert ask(stack, "DELETE", path).status == (204 if there else 404)
    settled(stack)
    assert set(rows(stack, stored[0]).values()) == {True}
    assert ask(stack, "GET", path).status == 404
