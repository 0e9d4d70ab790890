"""What one function has read of a file, the other need not read, whichever is first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from functions.extract_tags.index import index
from pacsless.archive import Stat
from pacsless.archive.files import FileArchive
from pacsless.entries import EntryMemory
from pacsless.events import Event, InstanceIndexed, InstanceStored, SeriesRevised
from pacsless.identity import SeriesIdentity
from pacsless.metadata import describe_series
from pacsless.postgres import Database
from pacsless.settings import Settings
from tests.instances import make_dataset, new_tenant, store
from tests.services import PostgresServer, RedisServer


class Counting(FileArchive):
    """A real archive that counts the originals that are opened."""

    opened = 0

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        self.opened += key.endswith(".dcm")
        return super().open(key, known)


@dataclass
class Pair:
    """Two processes: one that indexes, one that makes documents."""

    settings: Settings
    archive: Counting
    database: Database
    tenant: str

    def store(self, **values: object) -> InstanceStored:
        return store(self.archive, self.tenant, make_dataset(**values))

    def index(self, *events: InstanceStored) -> tuple[int, list[Event]]:
        """How many files are opened to index instances, and what is announced of them."""
        memory = EntryMemory.from_settings(self.settings)
        self.archive.opened = 0
        found = index(events, self.archive, self.database, self.settings, memory)
        opened = self.archive.opened
        assert found == index(events, self.archive, self.database, self.settings)
        return opened, found

    def described(self, event: InstanceStored) -> tuple[int, bytes]:
        """How many files are opened for the series of an instance, and its document."""
        memory = EntryMemory.from_settings(self.settings)
        series: SeriesIdentity = event.identity.series
        self.archive.opened = 0
        made = describe_series(self.archive, series, self.settings, memory)
        opened = self.archive.opened
        assert made == describe_series(self.archive, series, self.settings)
        return opened, made.content


@pytest.fixture
def pair(postgres: PostgresServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Pair]:
    settings = replace(postgres.settings, redis=redis_server.settings.redis)
    database = Database.from_settings(settings)
    yield Pair(settings, Counting(tmp_path / "archive"), database, new_tenant())
    database.close()


def test_files_that_were_indexed_just_now_are_not_read_again(pair: Pair) -> None:
    first = pair.store(PatientName="Ä^Ö", InstanceNumber=2)
    same = {
        "StudyInstanceUID": first.study_instance_uid,
        "SeriesInstanceUID": first.series_instance_uid,
    }
    second = pair.store(**same, InstanceNumber=1)
    assert pair.index(first, second)[0] == 2
    assert pair.described(first)[0] == 0
    pair.store(**same, InstanceNumber=3)
    opened, document = pair.described(first)
    assert opened == 1
    assert document.index(second.sop_instance_uid.encode()) < document.index("Ä^Ö".encode())


def test_files_that_were_described_just_now_are_not_read_to_be_indexed(pair: Pair) -> None:
    event = pair.store(PatientName="Ä^Ö", PixelSpacing=[0.1, 1e-9], PatientWeight="70.50")
    assert pair.described(event)[0] == 1
    opened, announced = pair.index(event)
    assert opened == 0
    assert {type(one) for one in announced} == {InstanceIndexed, SeriesRevised}


def test_an_entry_is_of_one_file_and_not_of_the_next_of_its_name(pair: Pair) -> None:
    event = pair.store(PatientName="Before")
    pair.index(event)
    path = pair.archive.local_path(event.identity.key)
    path.unlink()
    store(pair.archive, pair.tenant, make_dataset(
        PatientName="Behind", StudyInstanceUID=event.study_instance_uid,
        SeriesInstanceUID=event.series_instance_uid, SOPInstanceUID=event.sop_instance_uid,
    ))  # fmt: skip
    assert os.path.getsize(path) == event.file_size
    opened, document = pair.described(event)
    assert opened == 1
    assert b"Behind" in document


def test_rubbish_and_nothing_in_redis_cost_a_look_at_the_file(
    pair: Pair, redis_server: RedisServer
) -> None:
    event = pair.store()
    pair.index(event)
    [key] = redis_server.client.scan_iter()
    assert pair.tenant.encode() in key
    redis_server.client.set(key, b"no entry")
    assert pair.described(event)[0] == 1
    redis_server.client.flushall()
    assert pair.described(event)[0] == 1


def test_the_largest_entries_are_not_passed(pair: Pair, redis_server: RedisServer) -> None:
    event = pair.store(ImageComments="x" * (256 << 10))
    pair.index(event)
    assert redis_server.client.dbsize() == 0
    assert pair.described(event)[0] == 1


def test_without_redis_every_file_is_read(pair: Pair, redis_server: RedisServer) -> None:
    redis_server.stop()
    event = pair.store()
    pair.index(event)
    assert pair.described(event)[0] == 1
    assert EntryMemory().find(pair.tenant, []) == {}
