"""What one function has read of a file, the other need not read, whichever is first."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pytest
from pydicom.uid import generate_uid

from functions.extract_tags.index import index
from pacsless.archive import Stat
from pacsless.archive.files import FileArchive
from pacsless.dicom import document
from pacsless.errors import Unprocessable
from pacsless.events import Event, InstanceIndexed, InstanceStored, SeriesRevised
from pacsless.identity import SeriesIdentity
from pacsless.metadata import describe_series
from pacsless.postgres import Database
from pacsless.read_files import ReadFiles
from pacsless.settings import Settings
from pacsless.strict_json import dumps
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
        read_files = ReadFiles.from_settings(self.settings)
        self.archive.opened = 0
        found = index(events, self.archive, self.database, self.settings, read_files)
        opened = self.archive.opened
        again = index(events, self.archive, self.database, self.settings)
        assert list(map(dumps, map(Event.data, found))) == list(map(dumps, map(Event.data, again)))
        return opened, found

    def described(self, event: InstanceStored) -> tuple[int, bytes]:
        """How many files are opened for the series of an instance, and its document."""
        read_files = ReadFiles.from_settings(self.settings)
        series: SeriesIdentity = event.identity.series
        self.archive.opened = 0
        made = describe_series(self.archive, series, self.settings, read_files=read_files)
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
    opened, content = pair.described(first)
    assert opened == 1
    assert content.index(second.sop_instance_uid.encode()) < content.index("Ä^Ö".encode())


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
    opened, content = pair.described(event)
    assert opened == 1
    assert b"Behind" in content


@pytest.mark.parametrize(
    "left",
    [
        b"no deflate",
        zlib.compress(b"no JSON"),
        zlib.compress(b"[" * 30_000),
        zlib.compress(b" " * (64 << 10) + b"{}"),
        zlib.compress(b"[]"),
        zlib.compress(b'{"00080018":{"vr":"UI","Value":["9.9.9"]}}'),
        "of another",
        "no attributes",
        "gone",
    ],
)
def test_what_is_not_of_the_file_costs_a_look_at_the_file(
    pair: Pair, redis_server: RedisServer, left: bytes | str
) -> None:
    event = pair.store()
    pair.index(event)
    [key] = redis_server.client.scan_iter()
    assert pair.tenant.encode() in key
    value = redis_server.client.get(key)
    assert isinstance(value, bytes)
    line = zlib.decompress(value)
    match left:
        case "of another":
            uid = event.sop_instance_uid.encode()
            left = zlib.compress(line.replace(uid, b"9" + uid[1:]))
        case "no attributes":
            left = zlib.compress(line.replace(b'{"vr":"LO","Value":["P-1"]}', b"5"))
        case "gone":
            left = b""
    redis_server.client.set(key, left) if left else redis_server.client.flushall()
    assert pair.described(event)[0] == 1
    redis_server.client.set(key, left) if left else redis_server.client.flushall()
    assert pair.index(event)[0] == 1


def test_tenants_do_not_share_what_their_files_say(pair: Pair) -> None:
    dataset = make_dataset(PatientName="North")
    event = store(pair.archive, pair.tenant, dataset)
    pair.index(event)
    dataset.PatientName = "South"
    pair.tenant = new_tenant()
    other = store(pair.archive, pair.tenant, dataset)
    opened, content = pair.described(other)
    assert opened == 1
    assert b"South" in content


def test_what_is_served_under_another_address_is_read_otherwise(pair: Pair) -> None:
    event = pair.store()
    pair.index(event)
    pair.settings = replace(pair.settings, dicomweb_root="https://elsewhere/dicom-web")
    assert pair.described(event)[0] == 1


def test_only_the_bad_file_of_a_batch_is_read_again(pair: Pair) -> None:
    # Files are read in the order of their identities: one is before the bad one.
    events = sorted((pair.store() for _ in range(3)), key=lambda event: event.identity)
    path = pair.archive.local_path(events[1].identity.key)
    path.write_bytes(bytes(path.stat().st_size))
    read_files = ReadFiles.from_settings(pair.settings)
    with pytest.raises(Unprocessable):
        index(events, pair.archive, pair.database, pair.settings, read_files)
    good = [one for one in events if one is not events[1]]
    assert pair.index(*good)[0] == 1


def test_old_files_leave_nothing(
    pair: Pair, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = pair.store()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    pair.index(event)
    assert redis_server.client.dbsize() == 0


def test_a_long_series_is_not_in_memory_at_once(pair: Pair) -> None:
    """Parsed JSON takes ten times the memory of what is written."""
    series = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    first = pair.store(**series)
    for _ in range(249):
        pair.store(**series)
    live = most = 0

    class Counted(dict[str, object]):
        def __init__(self, found: dict[str, object]) -> None:
            nonlocal live, most
            super().__init__(found)
            live += 1
            most = max(most, live)

        def __del__(self) -> None:
            nonlocal live
            live -= 1

    read = document.read_attributes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "read_attributes", lambda *given: Counted(read(*given)))
        made = describe_series(pair.archive, first.identity.series, pair.settings)
    assert made.instances == 250
    assert most <= 2


def test_the_largest_are_not_passed(pair: Pair, redis_server: RedisServer) -> None:
    event = pair.store(ImageComments="x" * (64 << 10))
    pair.index(event)
    assert redis_server.client.dbsize() == 0
    assert pair.described(event)[0] == 1


def test_without_redis_every_file_is_read(pair: Pair, redis_server: RedisServer) -> None:
    redis_server.stop()
    event = pair.store()
    pair.index(event)
    assert pair.described(event)[0] == 1
