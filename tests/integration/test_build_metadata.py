"""build_metadata on real files and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from pydicom.uid import generate_uid

from functions.build_metadata.build import build
from functions.build_metadata.main import build_metadata
from pacsless import metadata
from pacsless.archive import Stat
from pacsless.archive.files import FileArchive
from pacsless.codec import Delivered
from pacsless.dicom import document
from pacsless.entries import EntryMemory
from pacsless.errors import Busy, Unavailable
from pacsless.events import SeriesRevised
from pacsless.identity import InstanceIdentity, SeriesIdentity, study_metadata_key
from pacsless.postgres import Database
from pacsless.read_files import ReadFiles
from pacsless.settings import Settings
from tests.instances import encode, make_dataset, new_tenant, store, store_bytes
from tests.ports import free_ports
from tests.services import PostgresServer


class Counting(FileArchive):
    """A real archive that says which originals were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        self.read.append(key)
        return super().open(key, known)

    def originals_read(self) -> int:
        count = sum(key.endswith(".dcm") for key in self.read)
        self.read.clear()
        return count


class Builder:
    """The function's core with its resources, for one study of one tenant."""

    def __init__(self, archive: Counting, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings)
        self.memory = EntryMemory()
        self.tenant, self.study = new_tenant(), generate_uid()

    def series(self) -> SeriesIdentity:
        return SeriesIdentity(self.tenant, self.study, generate_uid())

    def add(self, series: SeriesIdentity, *numbers: int) -> None:
        for number in numbers:
            ds = make_dataset(
                StudyInstanceUID=series.study_instance_uid,
                SeriesInstanceUID=series.series_instance_uid,
                InstanceNumber=number,
            )
            store(self.archive, self.tenant, ds)

    def __call__(self, *series: SeriesIdentity, revision: int = 1) -> None:
        revised = [(one, revision) for one in series]
        build(revised, self.archive, self.database, self.settings, memory=self.memory)

    def document(self, key: str) -> list[dict[str, Any]]:
        plain = self.archive.open(key).read()
        assert gzip.decompress(self.archive.open(f"{key}.gz").read()) == plain
        found = json.loads(plain)
        assert isinstance(found, list)
        return found

    def numbers(self, key: str) -> list[int]:
        return [one["00200013"]["Value"][0] for one in self.document(key)]

    def rows(self) -> list[Any]:
        return self.database.run(
            lambda t: t.run(
                "SELECT series_instance_uid, instances, left_out, revision"
                " FROM metadata_document WHERE tenant_id = :tenant"
                " ORDER BY series_instance_uid",
                tenant=self.tenant,
            )
        )

    def built_at(self) -> list[Any]:
        return self.database.run(
            lambda t: t.run(
                "SELECT series_instance_uid, built_at FROM metadata_document"
                " WHERE tenant_id = :tenant ORDER BY series_instance_uid",
                tenant=self.tenant,
            )
        )


@pytest.fixture
def builder(postgres: PostgresServer, tmp_path: Path) -> Iterator[Builder]:
    one = Builder(Counting(tmp_path / "archive"), postgres.settings)
    yield one
    one.database.close()


def test_series_and_study_are_described(builder: Builder) -> None:
    first, second = sorted((builder.series(), builder.series()))
    builder.add(first, 3, 1, 2)
    builder.add(second, 9)
    builder(first, second, first, revision=7)
    assert builder.numbers(first.metadata_key) == [1, 2, 3]
    assert builder.numbers(second.metadata_key) == [9]
    assert builder.numbers(study_metadata_key(builder.tenant, builder.study)) == [1, 2, 3, 9]
    assert builder.rows() == [
        ["", 4, 0, 7],
        [first.series_instance_uid, 3, 0, 7],
        [second.series_instance_uid, 1, 0, 7],
    ]


def test_only_new_files_are_read(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, *range(1, 11))
    builder(series)
    assert builder.archive.originals_read() == 10
    builder.add(series, 0)
    builder(series, revision=2)
    assert builder.archive.originals_read() == 1
    assert builder.numbers(series.metadata_key) == list(range(11))


def test_a_replay_writes_nothing(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, 1, 2)
    builder(series, revision=5)
    keys = [
        f"{key}{suffix}"
        for key in (series.metadata_key, study_metadata_key(builder.tenant, builder.study))
        for suffix in ("", ".gz")
    ]
    before = [builder.archive.stat(key) for key in keys], builder.built_at()
    for revision in (3, 5):
        builder(series, revision=revision)
        assert ([builder.archive.stat(key) for key in keys], builder.built_at()) == before
    assert {row[3] for row in builder.rows()} == {5}


def test_a_bad_file_is_left_out_and_told(
    builder: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    series = builder.series()
    builder.add(series, 1)
    bad = InstanceIdentity(
        builder.tenant, series.study_instance_uid, series.series_instance_uid, "1.9.9"
    )
    store_bytes(builder.archive, bad, b"\0" * 128 + b"DICM" + b"Doe^Jane" * 50, "")
    builder(series)
    assert builder.numbers(series.metadata_key) == [1]
    assert document.count(builder.archive.open(series.metadata_key).read()) == 2
    assert builder.rows()[1][1:3] == [1, 1]
    [record] = [one for one in caplog.records if one.name == "pacsless.metadata"]
    assert record.fields["instance"] == bad.subject  # type: ignore[attr-defined]
    assert record.fields["code"]  # type: ignore[attr-defined]
    assert "Doe" not in str(record.__dict__)


def test_a_mixed_pair_is_mended(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, 1)
    builder(series)
    builder.archive.replace(f"{series.metadata_key}.gz", gzip.compress(b"[]"))
    builder(series)
    assert builder.numbers(series.metadata_key) == [1]
    builder.archive.replace(f"{series.metadata_key}.gz", b"torn")
    builder(series)
    assert builder.numbers(series.metadata_key) == [1]


def test_builders_at_once_end_with_everything(builder: Builder) -> None:
    """Instances arrive while four builders run: the last look misses none."""
    series = builder.series()
    arriving = [encode_one(series, number) for number in range(60)]
    failures: list[BaseException] = []

    def arrive() -> None:
        for identity, content in arriving:
            store_bytes(builder.archive, identity, content, "")

    def rebuild() -> None:
        try:
            for revision in range(1, 6):
                # While instances arrive faster than it builds, it asks to be called again.
                with contextlib.suppress(Busy):
                    builder(series, revision=revision)
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            failures.append(error)

    threads = [threading.Thread(target=arrive), *(threading.Thread(target=rebuild) for _ in "1234")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    builder(series, revision=9)
    assert failures == []
    assert builder.numbers(series.metadata_key) == list(range(60))
    assert builder.numbers(study_metadata_key(builder.tenant, builder.study)) == list(range(60))


def encode_one(series: SeriesIdentity, number: int) -> tuple[InstanceIdentity, bytes]:
    ds = make_dataset(
        StudyInstanceUID=series.study_instance_uid,
        SeriesInstanceUID=series.series_instance_uid,
        InstanceNumber=number,
    )
    identity = InstanceIdentity(
        series.tenant_id,
        series.study_instance_uid,
        series.series_instance_uid,
        str(ds.SOPInstanceUID),
    )
    return identity, encode(ds)


def test_an_instance_that_arrives_during_the_build_is_in_it(builder: Builder) -> None:
    """The second look: the event of the late instance may already have been handled."""
    series = builder.series()
    builder.add(series, 1)
    late = [2]

    class Late(Counting):
        def replace(self, key: str, data: bytes) -> None:
            if late and key == series.metadata_key:
                builder.add(series, late.pop())
            super().replace(key, data)

    build([(series, 1)], Late(builder.archive.root), builder.database, builder.settings)
    assert builder.numbers(series.metadata_key) == [1, 2]


def test_without_postgresql_the_event_is_retried(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, 1)
    port = free_ports(1)[0]
    nowhere = Database.from_settings(
        Settings(postgres=f"postgresql://pacsless@127.0.0.1:{port}/pacsless")
    )
    with pytest.raises(Unavailable):
        build([(series, 1)], builder.archive, nowhere, builder.settings)


def test_the_handler_takes_events(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, 1)
    event = SeriesRevised(
        tenant_id=builder.tenant,
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        revision=4,
        study_revision=4,
        updated_at="2026-11-23T08:00:00.000001Z",
        number_of_series_related_instances=1,
        number_of_study_related_series=1,
        number_of_study_related_instances=1,
        series_bytes=1,
        study_bytes=1,
        patient={},
        study={},
        series={},
    )
    build_metadata.__wrapped__(  # type: ignore[attr-defined]
        [Delivered(event, event.id, "")],
        builder.archive,
        builder.database,
        builder.settings,
        memory=EntryMemory(),
        read_files=ReadFiles.from_settings(builder.settings),
    )
    assert builder.numbers(series.metadata_key) == [1]


def test_files_that_are_no_originals_are_passed_over(builder: Builder) -> None:
    series = builder.series()
    builder.add(series, 1)
    builder.archive.replace(f"{series.folder}/readme.txt", b"x")
    assert len(metadata.originals(builder.archive, series)) == 1


@pytest.mark.parametrize("limit", [0, 1000, 1 << 20])
def test_memory_changes_nothing_but_time(builder: Builder, limit: int) -> None:
    memory = EntryMemory(limit)
    several = [builder.series() for _ in range(3)]
    for number in range(4):
        for series in several:
            builder.add(series, number)
            made = metadata.describe_series(builder.archive, series, builder.settings, memory)
            builder.archive.replace(series.metadata_key, made.content)
            fresh = metadata.describe_series(builder.archive, series, builder.settings)
            assert made == fresh
            assert made.instances == number + 1
