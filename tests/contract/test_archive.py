"""One suite, two archives: a folder, and S3 as moto serves it."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pacsless.archive import (
    AlreadyKept,
    Archive,
    ArchiveUnavailable,
    ArchiveUnfit,
    Sealed,
    open_archive,
)
from pacsless.archive.folders import Folder
from pacsless.archive.s3 import S3Archive
from pacsless.dicom.part10 import split_part10
from pacsless.errors import NotFound
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_series, store_document
from pacsless.outbox import Outbox
from pacsless.settings import InvalidSetting, Settings
from pacsless.storage import deletion
from pacsless.storage.same import keep
from pacsless.tombstones import read_tombstone
from tests.instances import encode, make_dataset, store

KEY = "default/1.2/1.3/1.4.dcm"


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["file", "file, named", "s3", "s3, named"])
def archive(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    if "named" in request.param:  # as on a file system without O_TMPFILE
        for place in ("files", "s3"):
            monkeypatch.setattr(f"pacsless.archive.{place}.can_be_nameless", lambda *_: False)
    if request.param.startswith("file"):
        return open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    endpoint = request.getfixturevalue("moto_endpoint")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:40]
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    return open_archive(
        Settings(archive=f"s3://{bucket}/pacs", spool=str(tmp_path), s3_endpoint=endpoint)
    )


def seal(archive: Archive, data: bytes) -> Sealed:
    with archive.incoming() as incoming:
        for start in range(0, len(data), 1000):
            incoming.write(data[start : start + 1000])
        return incoming.seal()


def read(archive: Archive, key: str) -> bytes:
    with archive.open(key) as file:
        return file.read()


def test_an_original_goes_from_incoming_to_its_key(archive: Archive) -> None:
    data = bytes(range(256)) * 40
    sealed = seal(archive, data)
    assert (sealed.size, sealed.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert archive.stat(KEY) is None and archive.path_of(sealed).read_bytes() == data
    archive.keep(sealed, KEY)
    assert read(archive, KEY) == data
    found = archive.stat(KEY)
    assert found is not None and found.size == len(data)
    assert archive.sealed(sealed.name) is None


def test_the_time_an_original_was_received_stays_with_it(archive: Archive) -> None:
    received_ns = 1_795_420_800_123_457_000
    with archive.incoming() as incoming:
        incoming.write(b"received long ago")
        sealed = incoming.seal(received_ns)
    assert archive.sweep(3600) == 0, "what is old is not what was received long ago"
    archive.keep(sealed, KEY)
    found = archive.stat(KEY)
    assert found is not None
    assert round(found.modified * 1e6) * 1000 == received_ns


def test_an_original_is_never_replaced(archive: Archive) -> None:
    archive.keep(seal(archive, b"first"), KEY)
    second = seal(archive, b"second")
    with pytest.raises(AlreadyKept):
        archive.keep(second, KEY)
    assert read(archive, KEY) == b"first"
    assert archive.path_of(second).read_bytes() == b"second", "still there to quarantine"
    archive.discard(second)
    assert archive.sealed(second.name) is None
    archive.discard(second)
    assert archive.sweep(0) == 0


def test_a_race_for_a_key_has_one_winner(archive: Archive) -> None:
    contenders = [seal(archive, f"contender {n}".encode()) for n in range(6)]
    outcomes: list[str] = []

    def contend(sealed: Sealed) -> None:
        try:
            archive.keep(sealed, KEY)
            outcomes.append(sealed.sha256)
        except AlreadyKept:
            outcomes.append("")

    threads = [threading.Thread(target=contend, args=(one,)) for one in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [one for one in outcomes if one]
    assert len(outcomes) == 6 and len(winners) == 1
    assert hashlib.sha256(read(archive, KEY)).hexdigest() == winners[0]


def test_what_is_not_sealed_leaves_nothing(archive: Archive) -> None:
    with archive.incoming() as incoming:
        incoming.write(b"half an inst")
    assert archive.sweep(0) == 0
    assert list(archive.list("")) == []


def test_a_sweep_takes_what_is_old_or_ones_own(archive: Archive) -> None:
    with archive.incoming("scp-gateway-0") as incoming:
        mine = incoming.seal()
    others = seal(archive, b"others")
    assert archive.sweep(3600) == 0
    named = bool(mine.name)
    assert bool(archive.sealed(mine.name)) is named, "a crash leaves nothing without a name"
    assert archive.sweep(0, "scp-gateway-0") == named
    assert not archive.sealed(mine.name) and bool(archive.sealed(others.name)) is named
    assert archive.sweep(0) == named


def test_derived_files_are_replaced(archive: Archive) -> None:
    archive.replace("metadata/default/1.2.json", b"[]")
    archive.replace("metadata/default/1.2.json", b"[{}]")
    assert read(archive, "metadata/default/1.2.json") == b"[{}]"


def test_reading_by_ranges(archive: Archive) -> None:
    data = bytes(n % 251 for n in range(700_000))
    archive.keep(seal(archive, data), KEY)
    with archive.open(KEY) as file:
        assert file.seek(0, io.SEEK_END) == len(data)
        file.seek(300_001)
        assert file.read(5) == data[300_001:300_006]
        file.seek(-3, io.SEEK_END)
        assert file.read(10) == data[-3:]


def test_listing(archive: Archive) -> None:
    for key in (
        "a/1.2/1.3/1.4.dcm",
        "a/1.2/1.3/1.5.dcm",
        "a/1.2/1.30/1.6.dcm",
        "b/1.2/1.3/1.4.dcm",
    ):
        archive.keep(seal(archive, key.encode()), key)
    assert sorted(one.key for one in archive.list("a/1.2/1.3/")) == [
        "a/1.2/1.3/1.4.dcm",
        "a/1.2/1.3/1.5.dcm",
    ]
    assert sorted(archive.folders("a/1.2/")) == ["1.3", "1.30"]
    assert sorted(archive.folders("")) == ["a", "b"]
    assert list(archive.list("c/")) == [] and list(archive.folders("c/")) == []
    assert {one.size for one in archive.list("a/1.2/1.30")} == {len("a/1.2/1.30/1.6.dcm")}


def test_what_is_not_there(archive: Archive) -> None:
    with pytest.raises(NotFound):
        archive.open(KEY)
    archive.remove(KEY)
    archive.replace(KEY, b"x")
    archive.remove(KEY)
    assert archive.stat(KEY) is None


def test_a_file_archive_refuses_keys_that_leave_it(tmp_path: Path) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    (tmp_path / "secret").write_text("secret")
    for key in ("../secret", "/etc/passwd", "a/../../secret", ".incoming/x", "a\0b"):
        with pytest.raises(NotFound):
            archive.open(key)


@pytest.mark.parametrize("step", ["default", "default/1.2", "default/1.2/1.3"])
def test_nothing_is_written_through_a_link(tmp_path: Path, step: str) -> None:
    """Whoever may write into the archive's folders does not thereby choose where we write."""
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "archive" / step
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(ArchiveUnavailable):
        archive.keep(seal(archive, b"x"), "default/1.2/1.3/1.4.dcm")
    assert list(elsewhere.iterdir()) == []


def test_a_probe_leaves_nothing(archive: Archive) -> None:
    archive.probe()
    assert list(archive.list("")) == [] and archive.sweep(0) == 0


def test_a_probe_on_a_full_disk_condemns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveUnavailable):
        archive.probe()


def test_a_full_disk_is_not_taken_for_one_that_needs_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    real = os.open

    def full(path: Any, flags: int, *arguments: Any, **how: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *arguments, **how)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(ArchiveUnavailable):
        archive.incoming()
    monkeypatch.setattr(os, "open", real)
    with archive.incoming() as incoming:
        assert incoming.seal().name == ""


def test_a_store_that_replaces_objects_is_refused(
    moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=moto_endpoint).create_bucket(Bucket="careless")
    archive = S3Archive("careless", "", tmp_path, moto_endpoint)
    put = archive._s3.put_object
    monkeypatch.setattr(
        archive._s3,
        "put_object",
        lambda **how: put(**{key: how[key] for key in how if key != "IfNoneMatch"}),
    )
    with pytest.raises(ArchiveUnfit, match="ignores If-None-Match"):
        archive.probe()


def test_a_name_that_is_not_durable_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same again would find it there, and its fsync succeed for nothing."""
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    archive.keep(seal(archive, b"before"), KEY)
    real = Folder.sync
    other = KEY.replace("1.4", "1.5")

    def broken(_: Folder) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Folder, "sync", broken)
    for key in (other, "default/2.1/2.2/2.3.dcm"):
        sealed = seal(archive, b"x")
        with pytest.raises(ArchiveUnavailable):
            archive.keep(sealed, key)
        archive.discard(sealed)
        assert archive.stat(key) is None
    assert sorted(archive.folders("default/")) == ["1.2"]
    monkeypatch.setattr(Folder, "sync", real)
    archive.keep(seal(archive, b"x"), other)
    assert read(archive, other) == b"x"


@pytest.mark.parametrize("moved", ["default", "default/1.2", "default/1.2/1.3"])
def test_a_folder_that_was_moved_away_takes_nothing_with_it(tmp_path: Path, moved: str) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    archive.keep(seal(archive, b"before"), KEY)
    (tmp_path / "archive" / moved).rename(tmp_path / "aside")
    second = KEY.replace("1.4", "1.5")
    archive.keep(seal(archive, b"after"), second)
    assert read(archive, second) == b"after"
    assert [one.name for one in (tmp_path / "aside").rglob("*.dcm")] == ["1.4.dcm"]


def test_folders_stay_open_only_so_many(tmp_path: Path) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}"))
    for number in range(400):
        archive.keep(seal(archive, b"x"), f"default/1.2/1.{number}/1.4.dcm")
    assert len(list(Path("/proc/self/fd").iterdir())) < 380
    assert len(list(archive.list("default/"))) == 400


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    archive = open_archive(Settings(archive=f"file://{tmp_path}"))
    archive.keep(seal(archive, b"first"), KEY)
    archive.replace("metadata/default/1.2.json", b"[]")
    for tree in ("default", "metadata"):
        shutil.rmtree(tmp_path / tree)
    archive.keep(seal(archive, b"again"), KEY)
    archive.replace("metadata/default/1.2.json", b"[1]")
    assert read(archive, KEY) == b"again"
    assert read(archive, "metadata/default/1.2.json") == b"[1]"


def test_large_objects_go_up_in_parts(
    moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsless.archive.s3._PART", 5 << 20)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=moto_endpoint).create_bucket(Bucket="parts")
    archive = open_archive(
        Settings(archive="s3://parts", spool=str(tmp_path), s3_endpoint=moto_endpoint)
    )
    data = bytes(11 << 20)
    archive.keep(seal(archive, data), KEY)
    assert read(archive, KEY) == data
    loser = seal(archive, bytes(6 << 20))
    with pytest.raises(AlreadyKept):
        archive.keep(loser, KEY)


def test_an_object_is_uploaded_from_the_disk(
    moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many senders as there are associations may do it at a time."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    archive = S3Archive("bucket", "", tmp_path, moto_endpoint)
    puts: list[dict[str, Any]] = []
    monkeypatch.setattr(archive._s3, "put_object", lambda **how: puts.append(how))
    archive.keep(seal(archive, b"pixels"), KEY)
    (put,) = puts
    assert type(put["Body"]) is io.BufferedReader
    # S3 compares with what was received, not with what the disk gave back.
    assert base64.b64decode(put["ChecksumSHA256"]) == hashlib.sha256(b"pixels").digest()
    assert put["IfNoneMatch"] == "*"


def test_parts_that_the_disk_has_changed_are_not_kept(
    moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsless.archive.s3._PART", 5 << 20)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=moto_endpoint).create_bucket(Bucket="rotten")
    archive = S3Archive("rotten", "", tmp_path, moto_endpoint)
    sealed = seal(archive, bytes(6 << 20))
    with open(archive.path_of(sealed), "r+b") as file:
        file.write(b"\1")
    with pytest.raises(ArchiveUnavailable, match="not what was received"):
        archive.keep(sealed, KEY)
    assert archive.stat(KEY) is None


def test_a_store_that_does_not_answer_is_unavailable_and_names_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    archive = open_archive(
        Settings(archive="s3://b", spool=str(tmp_path), s3_endpoint="http://127.0.0.1:9")
    )
    sealed = seal(archive, b"owed")
    with pytest.raises(ArchiveUnavailable) as caught:
        archive.keep(sealed, KEY)
    assert "1.4" not in str(caught.value)
    assert archive.path_of(sealed).read_bytes() == b"owed", "it is still on the local disk"


def test_an_address_must_be_file_or_s3() -> None:
    with pytest.raises(InvalidSetting):
        open_archive(Settings(archive="ftp://somewhere"))


def test_a_listing_and_a_look_say_the_same_of_a_file(archive: Archive) -> None:
    archive.keep(seal(archive, b"content"), KEY)
    [listed] = archive.list("default/1.2/")
    looked = archive.stat(KEY)
    assert looked is not None
    assert (listed.key, listed.size, listed.kept) == (looked.key, looked.size, looked.kept)


def test_a_file_that_is_known_is_opened_at_once(archive: Archive) -> None:
    archive.keep(seal(archive, b"content"), KEY)
    known = archive.stat(KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(archive), "stat", None)
        with archive.open(KEY, known) as file:
            assert file.read() == b"content"
    archive.remove(KEY)
    with pytest.raises(NotFound), archive.open(KEY, known) as file:
        file.read()


def test_an_instance_is_deleted_with_all_that_was_made_of_it(
    archive: Archive, tmp_path: Path
) -> None:
    one, other = (InstanceIdentity("default", "1.2", "1.3", sop) for sop in ("1.4", "1.4.5"))
    digest = "ab" * 32
    gone = [
        one.key, f"{one.renditions}/1.2.840.10008.1.2.1.dcm",
        f"quarantine/default/1.2/1.3/1.4.{digest}.dcm", one.series.metadata_key,
    ]  # fmt: skip
    left = [
        other.key,
        f"{other.renditions}/1.dcm",
        f"quarantine/default/1.2/1.3/1.4.5.{digest}.dcm",
    ]
    for key in gone + left:
        archive.keep(seal(archive, b"[]"), key)
    outbox = Outbox(tmp_path / "deleting")
    intent = deletion.delete(archive, outbox, one, deletion.Deleter("ann", "192.0.2.1"))
    assert intent is not None
    deletion.clean_series(archive, one.series, {one.sop_instance_uid})
    outbox.kept(intent)
    assert {stat.key for stat in archive.list("")} == {*left, one.tombstone_key}
    tombstone = read_tombstone(archive, one.tombstone_key)
    assert tombstone is not None and (tombstone.deleted_by, tombstone.file_size) == ("ann", 2)
    assert deletion.delete(archive, outbox, one, deletion.Deleter("", "")) is None
    outbox.close()

    archive.keep(seal(archive, b"again"), one.key)
    assert read(archive, one.key) == b"again"
    deletion.finish(archive, one.tombstone_key)
    assert read(archive, one.key) == b"again"


def test_what_is_stored_while_another_is_deleted_has_metadata_of_its_own(
    archive: Archive, tmp_path: Path
) -> None:
    """Up to a thousand files go before their entries do, and recovery is later still."""
    dataset = make_dataset(PatientName="Doe^Jane")
    identity = store(archive, "default", dataset).identity
    other = make_dataset(
        StudyInstanceUID=dataset.StudyInstanceUID, SeriesInstanceUID=dataset.SeriesInstanceUID
    )
    store(archive, "default", other)
    made = describe_series(archive, identity.series, Settings()).content
    store_document(archive, identity.series.metadata_key, made)
    assert made.count(b"Doe^Jane") == 2
    outbox = Outbox(tmp_path / "deleting")
    deletion.delete(archive, outbox, identity, deletion.Deleter("", ""))
    outbox.close()
    dataset.PatientName = "Roe^Richard"
    store(archive, "default", dataset)

    def names() -> tuple[int, int]:
        content = describe_series(archive, identity.series, Settings()).content
        return content.count(b"Doe^Jane"), content.count(b"Roe^Richard")

    assert names() == (1, 1), "the document is older than the file"
    assert deletion.clean_series(archive, identity.series, {identity.sop_instance_uid})
    left = read(archive, identity.series.metadata_key)
    assert str(other.SOPInstanceUID).encode() in left
    assert identity.sop_instance_uid.encode() not in left
    assert names() == (1, 1)
    assert not deletion.clean_series(archive, identity.series, {identity.sop_instance_uid})


@pytest.mark.parametrize("patient", ["Doe^Jane", "Roe^Richard"], ids=["the same", "another"])
def test_what_is_sent_while_another_is_deleted_takes_its_place(
    archive: Archive, tmp_path: Path, patient: str
) -> None:
    """Whoever deleted was killed before the file went: it is no duplicate of anything."""
    dataset = make_dataset(PatientName="Doe^Jane")
    identity = store(archive, "default", dataset).identity
    outbox = Outbox(tmp_path / "deleting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(archive), "remove", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deletion.delete(archive, outbox, identity, deletion.Deleter("", ""))
    outbox.close()
    dataset.PatientName = patient
    content = encode(dataset)
    with archive.incoming() as incoming:
        incoming.write(content)
        sealed = incoming.seal(1_800_000_000_000_000_000)
    offset = split_part10(io.BytesIO(content)).dataset_offset
    assert keep(archive, identity, sealed, offset, "2027-01-15T08:00:00.000000Z") is sealed
    deletion.finish(archive, identity.tombstone_key)
    assert read(archive, identity.key) == content


def test_a_disk_that_fails_takes_nothing_that_was_stored_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has its key, is deleted, another gets the key; then the first one's fsync fails."""
    archive = open_archive(Settings(archive=f"file://{tmp_path}/archive"))
    first, second = seal(archive, b"first"), seal(archive, b"second")
    sync, failed = Folder.sync, []

    def fail_once(folder: Folder) -> None:
        sync(folder)
        if not failed and archive.stat(KEY) is not None:
            failed.append(folder)
            archive.remove(KEY)
            archive.keep(second, KEY)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Folder, "sync", fail_once)
    with pytest.raises(ArchiveUnavailable):
        archive.keep(first, KEY)
    assert failed and read(archive, KEY) == b"second"
