"""Deleting behind nginx: what is answered, what is gone, and what a kill leaves."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from pydicom.uid import generate_uid

from pacsless.events import InstanceDeleted
from pacsless.identity import InstanceIdentity
from tests.eventually import eventually
from tests.instances import encode, make_dataset
from tests.outboxes import promised
from tests.services import require
from tests.stow import HTTP, Stow, serve

ROOT = "/dicom-web"
SOUTH = "/tenants/south/dicom-web"


@pytest.fixture(scope="module")
def stow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stow]:
    require("nginx")
    with serve(tmp_path_factory.mktemp("delete"), DELETE="yes") as stow:
        yield stow


def make_study(stow: Stow, *sizes: int, root: str = ROOT) -> list[InstanceIdentity]:
    """Store a study of series with so many instances."""
    study, found = generate_uid(), []
    for size in sizes:
        series = generate_uid()
        datasets = [
            make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
            for number in range(size)
        ]
        for start in range(0, size, 100):
            some = [encode(one) for one in datasets[start : start + 100]]
            assert stow.store(*some, path=f"{root}/studies").status == 200
        tenant = "south" if root == SOUTH else "main"
        found += [
            InstanceIdentity(tenant, study, series, str(one.SOPInstanceUID)) for one in datasets
        ]
    return found


def delete(stow: Stow, path: str, root: str = ROOT) -> urllib3.BaseHTTPResponse:
    return stow.front.get(f"{root}/{path}", "DELETE")


def deleted(stow: Stow) -> dict[InstanceIdentity, InstanceDeleted]:
    events = promised(stow.function.spool, InstanceDeleted)
    return {one.identity: one for one in events if isinstance(one, InstanceDeleted)}


def files(stow: Stow) -> set[str]:
    return {
        path.relative_to(stow.function.archive).as_posix()
        for path in stow.function.archive.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("level", ["study", "series", "instance"])
@pytest.mark.parametrize("root", [ROOT, SOUTH])
def test_each_level(stow: Stow, level: str, root: str) -> None:
    stored = make_study(stow, 3, 2, root=root)
    first = stored[0]
    path, count = {
        "study": (f"studies/{first.study_instance_uid}", 5),
        "series": (first.series.subject, 3),
        "instance": (first.subject, 1),
    }[level]
    sizes = {one: (stow.function.archive / one.key).stat().st_size for one in stored}
    other = ROOT if root == SOUTH else SOUTH
    assert delete(stow, path, other).status == 404, "the other tenant has none"
    assert {one.key for one in stored} <= files(stow)

    answer = delete(stow, path, root)
    assert (answer.status, answer.data) == (204, b"")
    gone, left = stored[:count], stored[count:]
    assert files(stow).isdisjoint(one.key for one in gone)
    assert {one.key for one in left} <= files(stow)
    told = deleted(stow)
    for one in gone:
        assert told[one].file_size == sizes[one]
        assert told[one].remote_address == "127.0.0.1" and told[one].deleted_by == ""
        tombstone = stow.function.archive / one.tombstone_key
        assert json.loads(tombstone.read_bytes()) == told[one].data()
        assert not any(word in tombstone.read_text() for word in ("Doe", "P-1"))
    assert told.keys().isdisjoint(left)

    assert delete(stow, path, root).status == 404, "there is nothing left"
    (line,) = stow.front.logged(answer)
    assert (line["method"], line["path"], line["status"]) == ("DELETE", f"{root}/{path}", 204)


def test_what_was_made_of_it_and_put_aside_goes_too(stow: Stow) -> None:
    one, other = make_study(stow, 2)
    again = make_dataset(
        StudyInstanceUID=one.study_instance_uid, SeriesInstanceUID=one.series_instance_uid,
        SOPInstanceUID=one.sop_instance_uid, PatientName="Roe^Jane",
    )  # fmt: skip
    assert stow.store(encode(again)).status == 409
    derived = [
        f"{one.renditions}/1.2.840.10008.1.2.1.dcm", f"{one.renditions}/frames/index",
        f"metadata/main/{one.study_instance_uid}.json",
        f"metadata/main/{one.study_instance_uid}.json.gz",
    ]  # fmt: skip
    kept = [f"{other.renditions}/1.2.840.10008.1.2.1.dcm"]
    for key in derived + kept:
        path = stow.function.archive / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"[]")
    aside = {key for key in files(stow) if key.startswith(f"quarantine/{one.series.folder}/")}
    assert len(aside) == 1
    assert delete(stow, one.subject).status == 204
    assert files(stow).isdisjoint([*derived, *aside, one.key])
    assert files(stow) >= {*kept, other.key}


def test_what_a_deletion_has_left_is_removed_by_the_next(stow: Stow) -> None:
    (one,) = make_study(stow, 1)
    assert delete(stow, one.subject).status == 204
    left = stow.function.archive / one.renditions / "1.2.840.10008.1.2.1.dcm"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"?")
    assert delete(stow, f"studies/{one.study_instance_uid}").status == 204, "it went on from there"
    assert not left.exists()
    assert delete(stow, f"studies/{one.study_instance_uid}").status == 404


def test_what_is_put_aside_and_was_never_stored_is_not_deleted(stow: Stow) -> None:
    one, other = make_study(stow, 2)
    never = f"{generate_uid()}"
    aside = stow.function.archive / f"quarantine/{one.series.folder}/{never}.{'ab' * 32}.dcm"
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(b"?")
    assert delete(stow, f"{one.series.subject}/instances/{never}").status == 404
    assert aside.exists()
    assert {one.key, other.key} <= files(stow)


def test_stored_again_it_is_there_again(stow: Stow) -> None:
    dataset = make_dataset()
    (one,) = (
        InstanceIdentity("main", str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID),
                         str(dataset.SOPInstanceUID)),
    )  # fmt: skip
    received = []
    for _ in range(3):
        assert stow.store(encode(dataset)).status == 200
        assert one.key in files(stow)
        assert delete(stow, one.subject).status == 204
        assert one.key not in files(stow)
        received.append(deleted(stow)[one])
    assert len({event.id for event in received}) == 3, "each is a deletion of its own"
    assert received == sorted(received, key=lambda event: event.received_at)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("studies/1.2.3?dry-run=true", 400),
        ("studies/1.2.3/series/x", 400),
        ("studies/1..2", 400),
        ("studies/..%2Fmain", 404),
        ("studies/" + "1" * 65, 400),
        ("studies/1.2.3", 404),
        ("studies/1.2.3/series/1.2/instances/1.3", 404),
        ("studies", 405),
        ("studies/1.2.3/series", 405),
        ("studies/1.2.3/series/1.2/instances", 405),
        ("studies/1.2.3/metadata", 405),
        ("studies/1.2.3/series/1.2/instances/1.3/frames/1", 405),
    ],
)
def test_what_cannot_be_deleted(stow: Stow, path: str, status: int) -> None:
    before = files(stow)
    answer = delete(stow, path)
    assert answer.status == status, answer.data
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert files(stow) == before


def test_what_is_allowed_says_so(stow: Stow) -> None:
    for path, allowed in (
        ("studies/1.2", "GET, HEAD, POST, DELETE"),
        ("studies/1.2/series/1.3", "GET, HEAD, DELETE"),
        ("studies/1.2/series", "GET, HEAD"),
    ):
        answer = stow.front.get(f"{ROOT}/{path}", "PUT")
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_it_is_off_unless_it_is_turned_on(tmp_path: Path) -> None:
    require("nginx")
    with serve(tmp_path) as stow:
        (one,) = make_study(stow, 1)
        for path in (f"studies/{one.study_instance_uid}", one.series.subject, one.subject):
            answer = delete(stow, path)
            assert answer.status == 405 and "DELETE" not in answer.headers["Allow"]
            past = HTTP.request("DELETE", f"http://{stow.function.address}/{path}")
            assert past.status == 405 and "DELETE" not in past.headers["Allow"]
        assert one.key in files(stow)


def test_a_store_beside_a_deletion_is_before_it_or_after(stow: Stow) -> None:
    """The same instance is sent and deleted, over and over: neither is ever refused."""
    dataset = make_dataset()
    body, statuses = encode(dataset), set()
    path = f"studies/{dataset.StudyInstanceUID}"
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            statuses.add(stow.store(body).status)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        answers = {delete(stow, path).status for _ in range(60)}
    finally:
        stop.set()
        sender.join()
    assert statuses == {200}
    assert answers <= {204, 404} and 204 in answers
    assert stow.store(body).status == 200
    assert delete(stow, path).status == 204


def test_a_kill_leaves_nothing_half(tmp_path: Path) -> None:
    """The function is killed while it deletes; what it had begun is finished by the next."""
    require("nginx")
    with serve(tmp_path, DELETE="yes") as stow:
        left: list[int] = []
        for _ in range(3):
            stored = make_study(stow, 120, 40)
            path = f"studies/{stored[0].study_instance_uid}"
            answer: list[Any] = []

            def ask(path: str = path, answer: list[Any] = answer) -> None:
                answer.append(delete(stow, path).status)

            request = threading.Thread(target=ask)
            request.start()
            first = stow.function.archive / stored[0].tombstone_key
            eventually(lambda first=first: first.parent.exists())
            stow.function.stop(signal.SIGKILL)
            request.join()
            assert answer in ([503], [204])
            stow.function.start()
            there, told = files(stow), deleted(stow)
            left.append(sum(one.key in there for one in stored))
            for one in stored:
                is_there = one.key in there
                assert is_there is (one.tombstone_key not in there), one
                assert is_there is (one not in told), "each that is gone is told of"
            again = delete(stow, path).status
            assert again == (204 if any(one.key in there for one in stored) else 404)
            assert files(stow).isdisjoint(one.key for one in stored)
            assert deleted(stow).keys() >= set(stored)
        assert any(0 < count < 160 for count in left), "a kill came in the midst"
