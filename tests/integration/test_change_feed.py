"""The change feed on a real PostgreSQL: dense, in order, each change once, whoever reads when."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from functions.extract_tags.index import index
from pacsless import changes
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.changes import Change, latest, number, read
from pacsless.dicom import document
from pacsless.events import InstanceStored
from pacsless.identity import SeriesIdentity
from pacsless.metadata import describe_series
from pacsless.postgres import Address, Database, Transaction, migrate
from pacsless.postgres.connection import Connection
from pacsless.resources import override
from pacsless.settings import Settings
from pacsless.web import TENANT_HEADER
from tests.instances import make_dataset, new_tenant, store
from tests.services import REPOSITORY, PostgresServer, app_of


class Site:
    """The function with an index behind it, and a tenant of its own."""

    def __init__(self, archive: FileArchive, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings, size=16)
        self.app = app_of("change_feed")
        self.tenant = new_tenant()

    def store(self, **values: Any) -> InstanceStored:
        return store(self.archive, self.tenant, make_dataset(**values))

    def index(self, *events: InstanceStored) -> None:
        index(events, self.archive, self.database, self.settings)

    def run(self, sql: str, **parameters: object) -> list[Any]:
        return self.database.run(lambda t: t.run(sql, **parameters))

    def get(self, path: str, tenant: str = "") -> TestResponse:
        headers = {TENANT_HEADER: tenant or self.tenant}
        return self.app.test_client().get(f"/dicom-web/changefeed{path}", headers=headers)

    def feed(self, query: str = "", tenant: str = "") -> list[dict[str, Any]]:
        answer = self.get(f"?includeMetadata=false{query}", tenant)
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        return json.loads(answer.text)  # type: ignore[no-any-return]


@pytest.fixture
def site(postgres: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    made = Site(FileArchive(tmp_path / "archive"), postgres.settings)
    resources = {Archive: made.archive, Database: made.database, Settings: made.settings}
    with override(resources):
        yield made
    made.database.close()


def sequences(entries: list[dict[str, Any]]) -> list[int]:
    return [one["sequence"] for one in entries]


def test_what_is_stored_is_created_once(site: Site) -> None:
    assert site.feed() == []
    assert site.get("/latest").status_code == 204
    first, second = site.store(), site.store()
    site.index(first)
    site.index(second)
    found = site.feed()
    assert sequences(found) == [1, 2]
    assert [one["sopInstanceUid"] for one in found] == [
        first.sop_instance_uid,
        second.sop_instance_uid,
    ]
    assert {(one["action"], one["state"]) for one in found} == {("create", "current")}
    assert found[0]["timestamp"] < found[1]["timestamp"]
    site.index(second, first)
    site.index(first)
    assert site.feed() == found, "a replay is no change"


def test_pages_go_on_where_the_last_one_ended(site: Site) -> None:
    site.index(*(site.store() for _ in range(7)))
    assert sequences(site.feed("&limit=3")) == [1, 2, 3]
    assert sequences(site.feed("&limit=3&offset=3")) == [4, 5, 6]
    assert sequences(site.feed("&offset=6")) == [7]
    assert site.feed("&offset=7") == []
    assert site.feed("&offset=9223372036854775807") == []
    assert json.loads(site.get("/latest?includeMetadata=false").text) == site.feed("&offset=6")[0]


def test_more_changes_than_are_numbered_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_AT_ONCE", 2)
    site.index(*(site.store() for _ in range(5)))
    assert sequences(site.feed("&limit=3")) == [1, 2, 3]
    newest = latest(site.database, site.tenant)
    assert newest is not None and newest.sequence == 5


def test_numbering_leaves_off_before_the_client_does_and_goes_on_when_asked_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_AT_ONCE", 1)
    monkeypatch.setattr(changes, "_NUMBERING_SECONDS", -1.0)
    site.index(*(site.store() for _ in range(2)))
    for path in ("/latest", "?offset=2"):
        answer = site.get(path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    assert sequences(site.feed()) == [1, 2]
    assert site.get("/latest").status_code == 200


def test_another_file_replaces_and_a_deletion_stays_in_the_feed(site: Site) -> None:
    true = site.store()
    site.index(replace(true, sha256="0" * 64))
    assert [one["state"] for one in site.feed()] == ["current"]
    site.index(true)
    assert [(one["action"], one["state"]) for one in site.feed()] == [
        ("create", "replaced"),
        ("update", "current"),
    ]

    def delete(transaction: Transaction) -> None:
        transaction.run(
            "WITH gone AS (DELETE FROM instance WHERE tenant_id = :t RETURNING *)"
            " INSERT INTO change (tenant_id, revision, study_instance_uid, series_instance_uid,"
            " sop_instance_uid, action) SELECT tenant_id, nextval('revision'),"
            " study_instance_uid, series_instance_uid, sop_instance_uid, 'delete' FROM gone",
            t=site.tenant,
        )

    site.database.run(delete)
    found = site.feed()
    assert sequences(found) == [1, 2, 3]
    assert found[2]["action"] == "delete"
    assert {one["state"] for one in found} == {"deleted"}
    whole = json.loads(site.get("").text)
    assert all("metadata" not in one for one in whole)


def test_metadata_is_that_of_wado_rs(site: Site) -> None:
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
    described = site.store(**uids, PatientName="Doe^Jane", InstanceNumber=1)
    series = SeriesIdentity(site.tenant, "1.2", "1.2.3")
    content = describe_series(site.archive, series, site.settings).content
    site.archive.replace(series.metadata_key, content)
    # Stored after the document was made: read from the file.
    fresh = site.store(**uids, PatientName="Roe^Rick", InstanceNumber=2)
    site.index(described, fresh)
    found = {one["sopInstanceUid"]: one for one in json.loads(site.get("").text)}
    lines = describe_series(site.archive, series, site.settings).content
    expected = [json.loads(line) for line in document.lines(lines)]
    assert [found[one["00080018"]["Value"][0]]["metadata"] for one in expected] == expected
    newest = json.loads(site.get("/latest").text)
    assert newest == found[newest["sopInstanceUid"]]


def test_an_instance_that_cannot_be_read_has_no_metadata(site: Site) -> None:
    event = site.store()
    site.index(event)
    path = site.archive.local_path(event.file_path)
    assert path is not None
    path.unlink()
    (found,) = json.loads(site.get("").text)
    assert found["state"] == "current" and "metadata" not in found


def test_a_tenant_sees_its_own_changes_and_nothing_of_others(site: Site) -> None:
    other, dataset = new_tenant(), make_dataset()
    site.index(store(site.archive, other, dataset), store(site.archive, other, make_dataset()))
    site.index(store(site.archive, site.tenant, dataset))
    assert sequences(site.feed()) == [1]
    assert sequences(site.feed(tenant=other)) == [1, 2]
    assert site.feed(tenant=new_tenant()) == []


@pytest.mark.parametrize("query", ["?limit=0", "?limit=201", "?offset=-1", "?startTime=2026"])
def test_bad_parameters(site: Site, query: str) -> None:
    answer = site.get(query)
    assert answer.status_code == 400
    assert answer.text.endswith(".\n")


def test_a_change_committed_late_is_not_skipped(site: Site) -> None:
    """The trap of numbers from a sequence: the later transaction commits first."""
    slow, quick = Database.from_settings(site.settings), site.database
    insert = (
        "INSERT INTO change (tenant_id, revision, study_instance_uid, series_instance_uid,"
        " sop_instance_uid, action) VALUES (:t, nextval('revision'), '1', '1', :sop, 'create')"
    )
    try:
        with slow.transaction() as transaction:
            transaction.run(insert, t=site.tenant, sop="1.1")
            quick.run(lambda t: t.run(insert, t=site.tenant, sop="1.2"))
            assert [one.sop_instance_uid for one in read(quick, site.tenant, 0, 9)] == ["1.2"]
        found = read(quick, site.tenant, 1, 9)
        assert [(one.sequence, one.sop_instance_uid) for one in found] == [(2, "1.1")]
    finally:
        slow.close()


def test_readers_that_resume_see_every_change_once_and_in_order(site: Site) -> None:
    """Concurrent writers, and readers that number and follow while they write."""
    writers, readers, each = 6, 4, 40
    series = [f"1.2.{one % 2}.{one}" for one in range(writers)]
    events = [
        [
            site.store(
                StudyInstanceUID=f"1.2.{one % 2}",
                SeriesInstanceUID=series[one],
                SOPInstanceUID=f"{series[one]}.{number}",
            )
            for number in range(each)
        ]
        for one in range(writers)
    ]
    written = threading.Event()
    failures: list[BaseException] = []
    seen: list[list[Change]] = [[] for _ in range(readers)]

    def write(part: list[InstanceStored]) -> None:
        choose = random.Random(part[0].sop_instance_uid)
        start = 0
        while start < len(part):
            end = start + choose.randint(1, 5)
            site.index(*part[start:end])
            site.index(*part[start : start + 1])  # a replay between
            start = end

    def follow(mine: list[Change], limit: int) -> None:
        while True:
            last = written.is_set()
            page = read(site.database, site.tenant, mine[-1].sequence if mine else 0, limit)
            mine += page
            if last and not page:
                return

    threads = [
        *(_thread(failures, lambda part=part: write(part)) for part in events),
        *(
            _thread(failures, lambda mine=mine, n=n: follow(mine, 7 * n + 1))
            for n, mine in enumerate(seen)
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads[:writers]:
        thread.join()
    written.set()
    for thread in threads[writers:]:
        thread.join()
    assert not failures
    everything = {event.sop_instance_uid for part in events for event in part}
    for mine in seen:
        assert [one.sequence for one in mine] == list(range(1, len(everything) + 1))
        assert {one.sop_instance_uid for one in mine} == everything
        assert [_fact(one) for one in mine] == [_fact(one) for one in seen[0]]
    assert not number(site.database, site.tenant)


def _fact(change: Change) -> tuple[object, ...]:
    return change.sequence, change.sop_instance_uid, change.action, change.changed_at


def _thread(failures: list[BaseException], work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  told by the test
            failures.append(error)

    return threading.Thread(target=run)


def test_what_was_stored_before_there_was_a_feed_is_in_it(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    folder = REPOSITORY / "schemas" / "postgres"
    for path in sorted(folder.glob("000[12]_*.sql")):
        (tmp_path / path.name).write_text(path.read_text())
    name = new_tenant()
    connection = Connection(Address.parse(postgres.settings.postgres))
    connection.script(f"CREATE DATABASE {name}")
    connection.close()
    settings = Settings(postgres=f"{postgres.settings.postgres.rpartition('/')[0]}/{name}")
    assert len(migrate(settings, tmp_path)) == 2
    database = Database.from_settings(settings)
    instance = (
        "INSERT INTO instance (tenant_id, study_instance_uid, series_instance_uid,"
        " sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256, file_size, revision,"
        " received_at, created_date) VALUES (:t, '1', '1', :sop, '', '', '', 1, :revision,"
        " '2026-11-23T08:00:00Z', '2026-11-23')"
    )
    with database.transaction() as transaction:
        # Without series and study above them: they are no matter here.
        transaction.run("SET LOCAL session_replication_role = replica")
        for tenant, sop, revision in [("a", "1.1", 9), ("a", "1.2", 4), ("b", "1.1", 5)]:
            transaction.run(instance, t=tenant, sop=sop, revision=revision)
    # This migration alone: later ones may count on the study above an instance.
    name = "0003_change_feed.sql"
    (tmp_path / name).write_text((folder / name).read_text())
    assert migrate(settings, tmp_path) == [name]
    found = read(database, "a", 0, 9)
    assert [(one.sequence, one.sop_instance_uid, one.state) for one in found] == [
        (1, "1.2", "current"),
        (2, "1.1", "current"),
    ]
    assert [one.sequence for one in read(database, "b", 0, 9)] == [1]
    database.close()
