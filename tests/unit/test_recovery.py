"""Recovery writes down what it finds out, or is made again."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from pacsless.archive import Sealed, Stat
from pacsless.archive.files import FileArchive
from pacsless.codec import Record
from pacsless.identity import InstanceIdentity
from pacsless.outbox import Backlog, JournalUnavailable, Outbox
from pacsless.storage import deletion, incoming_owner, recover
from pacsless.tombstones import is_deleted

KEPT, GONE = "default/1.2/1.3/1.4.dcm", "default/1.2/1.3/1.5.dcm"


def record(key: str) -> Record:
    return Record("storage_queue", b"default/1.2", key.encode(), ())


def publishable(folder: Path) -> list[Record]:
    backlog = Backlog(lambda: [folder])
    try:
        return [one for entry in backlog.take(100, 0) for one in entry.records]
    finally:
        backlog.close()


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    return FileArchive(tmp_path / "archive")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def outbox(archive: FileArchive, spool: Path) -> Iterator[Outbox]:
    """Of a receiver that was killed after two promises, of which one file has its key."""
    before = Outbox(spool / "outbox")
    for key in (KEPT, GONE):
        sealed = seal(archive, key.encode())
        before.intend(sealed, key, [record(key)])
        if key == KEPT:
            archive.keep(sealed, key)
        else:
            archive.discard(sealed)
    before.close()
    after = Outbox(spool / "outbox")
    yield after
    after.close()


def seal(archive: FileArchive, content: bytes) -> Sealed:
    with archive.incoming("gateway-0") as incoming:
        incoming.write(content)
        return incoming.seal()


def test_a_full_disk_keeps_the_receiver_from_starting(
    archive: FileArchive, outbox: Outbox, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full_disk)
        with pytest.raises(JournalUnavailable, match="No space left"):
            recover(archive, outbox, "gateway-0")
    assert publishable(spool / "outbox") == []
    counts = recover(archive, outbox, "gateway-0")
    assert (counts["found"], counts["dropped"]) == (1, 1)
    assert publishable(spool / "outbox") == [record(KEPT)]
    assert outbox.unfinished() == []


def test_what_was_found_out_is_durable(
    archive: FileArchive, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):

        def watched(descriptor: int, name: str = name) -> None:
            synced.append(f"{name} {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
            os.sync()

        monkeypatch.setattr(os, name, watched)
    recover(archive, outbox, "gateway-0")
    # Whoever gave the file its key may have been killed before its fsync of the folder.
    assert synced[0] == "fsync 1.3"
    assert synced[-1] == "fdatasync 000000000002.journal"


class BadSector(FileArchive):
    """One file is there, and cannot be read."""

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        # Nothing is mapped at the beginning of an address space: EIO.
        return open("/proc/self/mem", "rb") if key == KEPT else super().open(key, known)


def test_an_unreadable_file_leaves_its_promise_open(
    archive: FileArchive, outbox: Outbox, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = seal(archive, b"another")
    outbox.intend(found, "default/1.2/1.3/1.6.dcm", [record("another")])
    archive.keep(found, "default/1.2/1.3/1.6.dcm")
    counts = recover(BadSector(archive.root), outbox, "gateway-0")
    assert {fate: n for fate, n in counts.items() if n} == {"found": 1, "dropped": 1, "open": 1}
    assert publishable(spool / "outbox") == [record("another")]
    assert [one.key for one in outbox.unfinished()] == [KEPT]
    assert "mend the disk" in caplog.text

    assert recover(archive, outbox, "gateway-0")["found"] == 1
    assert record(KEPT) in publishable(spool / "outbox")


def test_nothing_unfinished_writes_nothing(archive: FileArchive, spool: Path) -> None:
    outbox = Outbox(spool / "outbox")
    assert not any(recover(archive, outbox, "gateway-0").values())
    assert not list((spool / "outbox").glob("*.journal"))
    outbox.close()


@pytest.mark.parametrize("left", [None, ""])
def test_all_receivers_of_a_spool_have_one_name(spool: Path, left: str | None) -> None:
    if left is not None:  # by a power cut, once
        (spool / "id").write_text(left)
    names: set[str] = set()
    barrier = threading.Barrier(16)

    def start() -> None:
        barrier.wait(60)
        names.add(incoming_owner(spool, "3"))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    (name,) = names
    assert name == f"{(spool / 'id').read_text()}-3"
    assert incoming_owner(spool, "4") == f"{name[:-2]}-4"
    assert [one.name for one in spool.iterdir()] == ["id"]


class Interrupted(Exception):
    """As a kill at this point."""


@pytest.mark.parametrize(
    ("step", "is_gone"),
    [("intend", False), ("replace", False), ("stat", True), ("remove", True), ("list", True)],
)
def test_a_deletion_that_was_cut_off_is_finished_or_has_not_begun(
    archive: FileArchive, tmp_path: Path, step: str, is_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`step` is what did not happen any more; the tombstone is what makes the difference."""
    identity = InstanceIdentity("default", "1.2", "1.3", "1.4")
    archive.keep(seal(archive, b"file"), identity.key)
    rendition = f"{identity.renditions}/1.2.840.10008.1.2.1.dcm"
    archive.keep(seal(archive, b"rendition"), rendition)
    outbox = Outbox(tmp_path / "deleting")
    calls = {"stat": 0}

    def cut(*_: object, **__: object) -> None:
        raise Interrupted

    def second_stat(key: str) -> Stat | None:
        calls["stat"] += 1
        if calls["stat"] == 2:
            raise Interrupted
        return FileArchive.stat(archive, key)

    def deleting() -> None:
        deletion.delete(archive, outbox, identity, deletion.Deleter("ann", ""))
        deletion.clean_series(archive, identity.series, {identity.sop_instance_uid})

    with monkeypatch.context() as patch:
        if step == "intend":
            patch.setattr(outbox, "intend", cut)
        else:
            patch.setattr(archive, step, second_stat if step == "stat" else cut)
        with pytest.raises(Interrupted):
            deleting()
    outbox.close()

    again = Outbox(tmp_path / "deleting")
    recover(archive, again, "nobody")
    again.close()
    assert (archive.stat(identity.key) is None) is is_gone
    assert (archive.stat(rendition) is None) is is_gone
    assert is_deleted(archive, identity) is is_gone
    published = publishable(tmp_path / "deleting")
    assert [one.topic for one in published] == ["storage_queue"] * is_gone


def test_a_deletion_that_is_finished_late_spares_what_was_stored_since(
    archive: FileArchive, tmp_path: Path
) -> None:
    identity = InstanceIdentity("default", "1.2", "1.3", "1.4")
    archive.keep(seal(archive, b"first"), identity.key)
    os.utime(archive.local_path(identity.key), (1, 1))
    outbox = Outbox(tmp_path / "deleting")
    deletion.delete(archive, outbox, identity, deletion.Deleter("", ""))
    archive.keep(seal(archive, b"second"), identity.key)
    outbox.close()
    again = Outbox(tmp_path / "deleting")
    assert recover(archive, again, "nobody")["found"] == 1
    again.close()
    with archive.open(identity.key) as file:
        assert file.read() == b"second"
