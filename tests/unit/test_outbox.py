"""The outbox keeps every promise through failing disks, torn files and restarts."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.outbox import (
    Backlog,
    DiskSpace,
    Intent,
    JournalUnavailable,
    Outbox,
    OutboxOwned,
    outbox_depth,
)
from pacsless.outbox.entries import read_bodies
from pacsless.outbox.journal import segments
from pacsless.outbox.reader import OutboxReader
from tests.eventually import eventually

SEALED = Sealed("f" * 32, 1000, "ab" * 32)


def record(number: int) -> Record:
    return Record(
        "storage_queue",
        b"default/1.2",
        f'{{"n":{number}}}\xff'.encode("latin-1"),
        (("ce_id", b"\x00\xfe"),),
    )


def promise(outbox: Outbox, number: int) -> Intent:
    return outbox.intend(SEALED, f"default/1/2/{number}.dcm", [record(number)])


def keep(outbox: Outbox, number: int) -> Intent:
    intent = promise(outbox, number)
    outbox.kept(intent)
    return intent


def publish(backlog: Backlog, limit: int = 100_000) -> list[Record]:
    """Take and acknowledge everything there is."""
    found = []
    while entries := backlog.take(limit, 0):
        found += [one for entry in entries for one in entry.records]
        backlog.done(entry.id for entry in entries)
    return found


def settled(outbox: Outbox, backlog: Backlog) -> list[Record]:
    """Publish once marks that were refused are written."""
    outbox.settle()
    return publish(backlog)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def folder_of(spool: Path) -> Path:
    return spool / "outbox" / "receiver-0"


@pytest.fixture
def outbox(spool: Path) -> Iterator[Outbox]:
    box = Outbox(folder_of(spool))
    yield box
    box.close()


@pytest.fixture
def backlog(outbox: Outbox, spool: Path) -> Iterator[Backlog]:
    reader = Backlog([folder_of(spool)])
    yield reader
    reader.close()


def journal_files(spool: Path) -> list[Path]:
    return sorted(folder_of(spool).glob("*.journal"))


def test_what_is_kept_is_published_once_and_unchanged(
    outbox: Outbox, backlog: Backlog, spool: Path
) -> None:
    for number in range(3):
        keep(outbox, number)
    outbox.note([record(3)])
    assert backlog.depth.entries == outbox_depth(spool).entries == 4
    assert publish(backlog) == [record(number) for number in range(4)]
    assert backlog.take(1, 0) == []
    assert backlog.depth.entries == outbox_depth(spool).entries == 0


def test_an_intent_is_published_only_once_its_file_has_the_key(
    outbox: Outbox, backlog: Backlog
) -> None:
    slow, gone = promise(outbox, 0), promise(outbox, 1)
    keep(outbox, 2)
    assert publish(backlog) == [record(2)]
    outbox.cancel(gone, [record(3)])
    outbox.kept(slow, [record(4)])
    assert publish(backlog) == [record(3), record(0), record(4)]
    assert backlog.depth.entries == 0


def test_an_acknowledgement_outstanding_at_a_restart_is_published_again(spool: Path) -> None:
    folder = folder_of(spool)
    before = Outbox(folder)
    reading = Backlog([folder])
    keep(before, 0)
    keep(before, 1)
    done, _ = reading.take(2, 0)
    reading.done([done.id])
    open_intent, cancelled = promise(before, 2), promise(before, 3)
    before.cancel(cancelled)
    before.close()

    after, reading = Outbox(folder), Backlog([folder])
    (unfinished,) = after.unfinished()
    assert (unfinished.key, unfinished.sealed) == (open_intent.key, SEALED)
    assert reading.depth.entries == outbox_depth(spool).entries == 2
    assert publish(reading) == [record(1)]
    after.kept(unfinished)
    assert publish(reading) == [record(2)]
    assert after.unfinished() == []
    after.close()
    assert outbox_depth(spool).entries == 0


def test_ids_are_not_used_again_after_a_restart(spool: Path) -> None:
    for number in range(3):
        outbox = Outbox(folder_of(spool))
        keep(outbox, number)
        Backlog([folder_of(spool)]).take(1, 0)  # not acknowledged
        outbox.close()
    backlog = Backlog([folder_of(spool)])
    assert publish(backlog) == [record(number) for number in range(3)]
    assert backlog.depth.entries == 0


def test_a_torn_tail_loses_only_what_nobody_was_promised(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    outbox = Outbox(folder_of(spool))
    keep(outbox, 0)
    whole = journal_files(spool)[0].read_bytes().rstrip(b"\0")
    keep(outbox, 1)
    outbox.close()
    longer = journal_files(spool)[0].read_bytes()
    for size in range(len(whole), len(longer)):
        torn = folder_of(tmp_path / f"torn{size}")
        torn.mkdir(parents=True)
        room = bytes(size % 2 * 3000)
        (torn / "000000000001.journal").write_bytes(longer[:size] + room)
        again, backlog = Outbox(torn), Backlog([torn])
        for intent in again.unfinished():
            again.kept(intent)
        keep(again, 7)
        found = publish(backlog)
        assert found[0] == record(0) and found[-1] == record(7), size
        assert backlog.depth.entries == 0
        again.close()
        backlog.close()


def test_a_rotten_line_costs_itself_alone(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(folder_of(spool))
    for number in range(3):
        outbox.note([record(number)])
    outbox.close()
    file = journal_files(spool)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"storage_queue", b"storage_qxeue")
    file.write_bytes(b"".join(lines))
    assert publish(Backlog([folder_of(spool)])) == [record(0), record(2)]
    assert "damaged line in the journal" in caplog.text


def test_concurrent_promises_share_an_fsync(
    outbox: Outbox, backlog: Backlog, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fdatasync, []

    def slow_disk(descriptor: int) -> None:
        calls.append(descriptor)
        # The first takes until everybody waits for one.
        eventually(lambda: sum(one.read_bytes().count(b"\n") for one in journal_files(spool)) >= 40)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_disk)
    threads = [threading.Thread(target=keep, args=(outbox, number)) for number in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(calls) == 2
    assert sorted(publish(backlog), key=str) == sorted(map(record, range(40)), key=str)


def test_a_promise_is_durable_when_it_returns(
    outbox: Outbox, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        real(descriptor)
        seen.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())

    monkeypatch.setattr(os, "fdatasync", watched)
    promise(outbox, 5)
    assert b"default/1/2/5.dcm" in seen[-1]


def test_a_failed_fsync_is_never_repeated(
    outbox: Outbox, backlog: Backlog, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(outbox, 0)
    real, failed = os.fdatasync, []

    def broken_disk(descriptor: int) -> None:
        failed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken_disk)
    with pytest.raises(JournalUnavailable):
        promise(outbox, 1)
    fine: list[str] = []

    def mended_disk(descriptor: int) -> None:
        fine.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", mended_disk)
    keep(outbox, 2)
    assert len(failed) == 1 and failed[0] not in fine
    assert publish(backlog) == [record(0), record(2)]
    assert backlog.depth.entries == 0


class FullDisk:
    """Takes `left` bytes more, and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int = 0) -> None:
        self._monkeypatch = monkeypatch
        self._left = left
        self._real = os.pwrite
        self.attempts = 0
        monkeypatch.setattr(os, "pwrite", self._write)

    def _write(self, descriptor: int, data: bytes, offset: int) -> int:
        self.attempts += 1
        if not self._left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._real(descriptor, data[: self._left], offset)
        self._left -= written
        return written

    def free(self) -> None:
        self._monkeypatch.setattr(os, "pwrite", self._real)


# 65,536 bytes are what a segment grows by: the second stops in the middle of a line.
@pytest.mark.parametrize("left", [0, 20, 65_536, 65_536 + 20])
def test_a_full_disk_refuses_and_recovers(
    outbox: Outbox, backlog: Backlog, spool: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    disk = FullDisk(monkeypatch, left)
    with pytest.raises(JournalUnavailable, match="No space left"):
        promise(outbox, 1)
    disk.free()
    keep(outbox, 2)
    assert publish(backlog) == [record(2)]
    assert len(journal_files(spool)) == 1


def test_a_disk_that_stays_full_costs_nothing_but_the_refusals(
    outbox: Outbox, backlog: Backlog, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents = [promise(outbox, number) for number in range(3)]
    disk = FullDisk(monkeypatch)
    for number in range(50):
        with pytest.raises(JournalUnavailable):
            promise(outbox, 100 + number)
        with pytest.raises(JournalUnavailable):
            outbox.note([record(number)])
    for intent in intents:
        outbox.kept(intent)
    disk.attempts = 0
    for _ in range(50):
        outbox.settle()
    assert disk.attempts <= 1, "it is tried again and again"
    disk.free()
    eventually(lambda: settled(outbox, backlog) == [record(n) for n in range(3)])
    (file,) = journal_files(spool)
    bodies = [body[:1] for _, body in read_bodies(file.parent, segments(file.parent))]
    assert bodies == [b"I", b"I", b"I", b"K", b"K", b"K"], "what is not there need not be void"


def test_marks_find_room_on_a_full_disk(outbox: Outbox, backlog: Backlog) -> None:
    intent = promise(outbox, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    try:
        with pytest.raises(JournalUnavailable, match="File too large"):
            outbox.intend(SEALED, "key", [Record("log_queue", b"k", b"x" * 70_000, ())])
        outbox.kept(intent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert publish(backlog) == [record(1)]


def test_a_mark_the_full_disk_refused_is_made_up_for(
    outbox: Outbox, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = promise(outbox, 1)
    disk = FullDisk(monkeypatch)
    outbox.kept(intent, [record(2)])
    outbox.settle()
    assert publish(backlog) == [] and backlog.depth.entries == 1
    disk.free()
    eventually(lambda: settled(outbox, backlog) == [record(1), record(2)])
    outbox.settle()
    assert publish(backlog) == [] and backlog.depth.entries == 0


def test_a_mark_refused_to_the_end_is_asked_for_at_the_next_start(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(folder_of(spool))
    kept, cancelled = promise(outbox, 1), promise(outbox, 2)
    disk = FullDisk(monkeypatch)
    outbox.kept(kept)
    outbox.cancel(cancelled)
    outbox.close()
    disk.free()
    again, backlog = Outbox(folder_of(spool)), Backlog([folder_of(spool)])
    assert [one.key for one in again.unfinished()] == [kept.key, cancelled.key]
    again.decide(kept=[kept], cancelled=[cancelled])
    assert publish(backlog) == [record(1)] and backlog.depth.entries == 0
    again.close()
    backlog.close()


def test_a_decision_is_durable_or_refused(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    intents = [promise(outbox, number) for number in range(3)]
    disk = FullDisk(monkeypatch)
    with pytest.raises(JournalUnavailable):
        outbox.decide(kept=intents[:2], cancelled=intents[2:])
    assert len(outbox.unfinished()) == 3
    disk.free()
    real, synced = os.fdatasync, []

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_bytes().rstrip(b"\0"))

    monkeypatch.setattr(os, "fdatasync", watched)
    outbox.decide(kept=intents[:2], cancelled=intents[2:])
    assert len(synced) == 1 and synced[0].count(b"\n") == 5
    assert outbox.unfinished() == []
    outbox.decide(kept=[], cancelled=[])
    assert len(synced) == 1


def test_nothing_becomes_durable_after_the_end(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(folder_of(spool))
    real, begun, go_on = os.fdatasync, threading.Event(), threading.Event()

    def slow_disk(descriptor: int) -> None:
        begun.set()
        go_on.wait(60)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_disk)
    sender = threading.Thread(target=promise, args=(outbox, 0))
    sender.start()
    begun.wait(60)
    closer = threading.Thread(target=outbox.close)
    closer.start()
    # It is refused once the end has begun, while the first is on its way.
    eventually(lambda: refuses(outbox))
    with pytest.raises(OutboxOwned):
        Outbox(folder_of(spool))
    assert closer.is_alive()
    go_on.set()
    sender.join(60)
    closer.join(60)
    assert refuses(outbox)
    after = Outbox(folder_of(spool))
    assert [one.key for one in after.unfinished()] == ["default/1/2/0.dcm"]
    after.close()


def refuses(outbox: Outbox) -> bool:
    try:
        outbox.note([record(1)])
    except JournalUnavailable as error:
        return "closed" in error.message
    return False


def test_segments_go_when_all_in_them_is_done(spool: Path) -> None:
    outbox = Outbox(folder_of(spool), segment_bytes=2000)
    backlog = Backlog([folder_of(spool)])
    first = promise(outbox, 0)
    for number in range(1, 60):
        keep(outbox, number)
    assert len(journal_files(spool)) > 5
    assert len(publish(backlog, limit=7)) == 59
    assert journal_files(spool)[0].name == "000000000001.journal", "its first intent is open"
    outbox.kept(first)
    assert publish(backlog) == [record(0)]
    outbox.note([record(60)])
    assert publish(backlog) == [record(60)]
    assert len(journal_files(spool)) <= 2
    assert len(list(folder_of(spool).glob("*.done"))) <= 2
    outbox.close()
    again = Backlog([folder_of(spool)])
    assert publish(again) == [] and again.depth.entries == 0
    assert len(journal_files(spool)) == 1, "the last one numbers the next"
    again.close()


def test_the_backlog_stays_on_the_disk(outbox: Outbox, backlog: Backlog, spool: Path) -> None:
    big = Record("log_queue", b"k", b"x" * 2000, ())
    outbox.note([big])
    assert backlog.depth.entries == 1
    tracemalloc.start()
    try:
        for _ in range(3000):
            outbox.note([big])
        assert backlog.depth.entries == 3001
        assert len(backlog.take(10, 0)) == 10
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(one.stat().st_size for one in journal_files(spool)) > 6_000_000
    assert grown < 200_000


@pytest.mark.parametrize("nth", range(1, 12))
def test_a_journal_that_cannot_be_read_for_a_moment_loses_no_entry(
    spool: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    outbox = Outbox(folder_of(spool), segment_bytes=1)
    backlog = Backlog([folder_of(spool)])
    late = promise(outbox, 0)
    assert backlog.take(1, 0) == []  # the cursor passes it
    keep(outbox, 1)
    keep(outbox, 2)
    outbox.kept(late)
    tried: list[Path] = []
    real = open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        tried.append(path)
        if len(tried) == nth:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    found = [one for _ in range(3) for one in publish(backlog)]
    assert sorted(one.value for one in found) == [record(n).value for n in range(3)]
    assert len(tried) >= nth
    assert backlog.depth.entries == 0
    outbox.close()


def test_an_outbox_that_cannot_be_read_holds_up_no_other(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [spool / "outbox" / f"receiver-{number}" for number in range(3)]
    outboxes = [Outbox(folder) for folder in folders]
    backlog = Backlog(folders)
    for number, outbox in enumerate(outboxes):
        outbox.note([record(number)])
    real = os.listdir

    def refuse(folder: Path) -> list[str]:
        if folder == folders[1]:
            raise OSError(errno.EIO, "Input/output error")
        return real(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    assert {*publish(backlog)} == {record(0), record(2)}
    assert backlog.depth.entries == 0
    assert caplog.text.count("its events wait") == 1
    monkeypatch.setattr(os, "listdir", real)
    assert publish(backlog) == [record(1)]
    assert backlog.depth.entries == 0


def test_a_segment_that_cannot_be_removed_strands_nothing(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [spool / "outbox" / f"receiver-{number}" for number in range(2)]
    outboxes = [Outbox(folder, segment_bytes=1) for folder in folders]
    backlog = Backlog(folders)
    real = os.unlink

    def refuse(path: Path, **options: Any) -> None:
        if folders[0] in Path(path).parents:
            raise OSError(errno.EIO, "Input/output error")
        real(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    for number in range(6):
        outboxes[number % 2].note([record(number)])
        assert publish(backlog) == [record(number)]
    assert backlog.depth.entries == 0
    assert caplog.text.count("cannot be removed") == 1
    monkeypatch.setattr(os, "unlink", real)
    assert publish(backlog) == []
    assert len(list(folders[0].glob("*.journal"))) == 1
    assert len(list(folders[1].glob("*.journal"))) == 1


def test_the_memory_of_what_is_gone_silences_nothing(spool: Path) -> None:
    before = Outbox(folder_of(spool))
    before.note([record(0)])
    backlog = Backlog([folder_of(spool)])
    assert publish(backlog) == [record(0)]
    backlog.close()
    before.close()
    journal_files(spool)[0].unlink()  # a crash between two removals, as they once were

    outbox = Outbox(folder_of(spool))
    outbox.note([record(1)])
    backlog = Backlog([folder_of(spool)])
    assert publish(backlog) == [record(1)]
    assert [one.stem for one in folder_of(spool).glob("*.done")] == ["000000000002"]
    outbox.close()


def test_what_is_removed_first_is_the_memory(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, backlog = Outbox(folder_of(spool), segment_bytes=1), Backlog([folder_of(spool)])
    removed: list[str] = []
    real = os.unlink

    def watched(path: Path, **options: Any) -> None:
        removed.append(Path(path).suffix)
        real(path, **options)

    monkeypatch.setattr(os, "unlink", watched)
    for number in range(3):
        outbox.note([record(number)])
        publish(backlog)
    assert removed == [".done", ".journal"] * 2
    outbox.close()


def test_empty_segments_are_listed_once(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(spool)
    folder.mkdir(parents=True)
    for number in range(1, 4001):
        (folder / f"{number:012d}.journal").touch()
    outbox = Outbox(folder)
    backlog = Backlog([folder])
    keep(outbox, 0)
    listed: list[Path] = []
    real = os.listdir

    def watched(path: Path) -> list[str]:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", watched)
    assert publish(backlog) == [record(0)]
    assert backlog.depth.entries == 0
    assert len(listed) < 12
    assert len(journal_files(spool)) == 1
    outbox.close()


def test_a_note_of_nothing_is_nothing(outbox: Outbox, backlog: Backlog, spool: Path) -> None:
    outbox.note([])
    assert backlog.depth.entries == 0 and not journal_files(spool)


def test_every_new_folder_is_durable_in_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", watched)
    Outbox(tmp_path / "a" / "b" / "c").close()
    assert synced == [str(tmp_path.parent), str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"]
    synced.clear()
    Outbox(tmp_path / "a" / "b" / "c").close()
    assert synced == [f"{tmp_path}/a/b"], "its maker may have ended before this"


def test_a_segment_grows_ahead_and_is_cut_at_the_end(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, backlog = Outbox(folder_of(spool)), Backlog([folder_of(spool)])
    keep(outbox, 0)
    (file,) = journal_files(spool)
    assert file.stat().st_size == 65_536
    assert publish(backlog) == [record(0)]
    read: list[int] = []
    real = os.pread

    def watched(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", watched)
    for _ in range(10):
        assert backlog.take(10, 0) == []
    assert max(read) <= 65_536 and len(read) <= 20
    for number in range(1, 600):
        keep(outbox, number)
    assert publish(backlog) == [record(number) for number in range(1, 600)]
    size = len(file.read_bytes().rstrip(b"\0"))
    assert 65_536 < size < file.stat().st_size
    outbox.close()
    assert file.stat().st_size == size
    assert b"\0" not in file.read_bytes()


def test_what_a_power_cut_left_unwritten_ends_nothing_behind_it(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(folder_of(spool))
    for number in range(4):
        outbox.note([record(number)])
    (file,) = journal_files(spool)
    lines = file.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    outbox.close()
    lines[1] = lines[1][:10] + bytes(len(lines[1]) - 10)
    file.write_bytes(b"".join(lines) + bytes(5000))
    again, backlog = Outbox(folder_of(spool)), Backlog([folder_of(spool)])
    # Behind the hole somebody may be writing, until there is another segment.
    assert publish(backlog) == [record(0)]
    again.note([record(9)])
    assert publish(backlog) == [record(3), record(9)]
    assert "damaged line" in caplog.text
    assert backlog.depth.entries == 0
    again.close()


def test_every_outbox_of_a_spool_is_read_in_turn(spool: Path) -> None:
    folders = [spool / "outbox" / f"receiver-{number}" for number in range(3)]
    outboxes = [Outbox(folder) for folder in folders]
    backlog = Backlog(folders)
    for number in range(300):
        outboxes[0].note([record(number)])
    for number, outbox in enumerate(outboxes[1:], 1000):
        outbox.note([record(number)])
    assert backlog.depth.entries == outbox_depth(spool).entries == 302
    taken = [backlog.take(100, 0) for _ in range(3)]
    values = {one.records[0].value for entries in taken[:2] for one in entries}
    assert {record(1000).value, record(1001).value} <= values, "nobody waits behind a busy one"
    backlog.done(one.id for entries in taken for one in entries)
    publish(backlog)
    assert backlog.depth.entries == outbox_depth(spool).entries == 0


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_line_that_is_being_written_is_not_read_yet(
    outbox: Outbox, spool: Path, room: int
) -> None:
    keep(outbox, 0)
    (file,) = journal_files(spool)
    whole = file.read_bytes().rstrip(b"\0")
    reader = OutboxReader(folder_of(spool))
    for size in range(len(whole)):
        file.write_bytes(whole[:size] + bytes(room))
        assert reader.take(10) == []
        # Its end may be there before its beginning.
        file.write_bytes(bytes(size + 1) + whole[size + 1 :] + bytes(room))
        assert reader.take(10) == [], size
    file.write_bytes(whole + bytes(room))
    assert [entry.records for entry in reader.take(10)] == [(record(0),)]


def test_a_line_longer_than_a_read_is_read(outbox: Outbox, backlog: Backlog) -> None:
    big = Record("log_queue", b"k", b"x" * 300_000, ())
    outbox.note([record(0)])
    outbox.note([big])
    outbox.note([record(1)])
    assert publish(backlog) == [record(0), big, record(1)]


def test_a_second_owner_is_told_who_the_first_is(outbox: Outbox, spool: Path) -> None:
    with pytest.raises(OutboxOwned, match=f"process {os.getpid()} on .*PACSLESS_SPOOL"):
        Outbox(folder_of(spool))


def test_the_age_is_that_of_the_oldest(outbox: Outbox, backlog: Backlog, spool: Path) -> None:
    outbox.note([record(0)])
    time.sleep(0.05)
    outbox.note([record(1)])
    backlog.take(2, 0)
    assert 0.05 <= backlog.depth.oldest_seconds < 30
    assert 0.05 <= outbox_depth(spool).oldest_seconds < 30


def test_no_outbox_has_no_depth(tmp_path: Path) -> None:
    assert outbox_depth(tmp_path).entries == 0


@pytest.mark.parametrize(("percent", "full"), [(0, True), (100, False)])
def test_the_high_water_mark(tmp_path: Path, percent: int, full: bool) -> None:
    assert DiskSpace([tmp_path], percent).is_full is full


def test_a_taker_is_woken(spool: Path) -> None:
    found: list[int] = []
    backlog = Backlog([folder_of(spool)])
    outbox = Outbox(folder_of(spool), backlog.wake)
    taker = threading.Thread(target=lambda: found.append(len(backlog.take(10, 30))))
    taker.start()
    keep(outbox, 0)
    taker.join(10)
    assert found == [1]


STEPS = st.lists(
    st.sampled_from(
        [
            "promise",
            "keep",
            "cancel",
            "note",
            "take",
            "done",
            "restart writer",
            "restart reader",
        ]
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_any_history_ends_with_everything_published(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Writer and reader are two processes: either may be started again at any time."""
    spool = tmp_path_factory.mktemp("spool")
    folder = folder_of(spool)
    outbox, backlog = Outbox(folder, segment_bytes=700), Backlog([folder])
    expected: set[bytes] = set()
    published: set[bytes] = set()
    in_flight: list[tuple[Intent, bytes]] = []
    taken: list[tuple[tuple[int, int], bytes]] = []
    for number, step in enumerate([*steps, "restart writer", "restart reader"]):
        value = record(number).value
        match step:
            case "promise":
                in_flight.append((promise(outbox, number), value))
            case "keep" if in_flight:
                intent, value = in_flight.pop(0)
                outbox.kept(intent)
                expected.add(value)
            case "cancel" if in_flight:
                outbox.cancel(in_flight.pop()[0])
            case "note":
                outbox.note([record(number)])
                expected.add(value)
            case "take":
                taken += [(one.id, one.records[0].value) for one in backlog.take(3, 0)]
            case "done" if taken:
                done, value = taken.pop()
                backlog.done([done])
                published.add(value)
            case "restart writer":
                outbox.close()
                outbox = Outbox(folder, segment_bytes=700)
                by_key = {one.key: one for one in outbox.unfinished()}
                assert set(by_key) == {intent.key for intent, _ in in_flight}
                in_flight = [(by_key[intent.key], value) for intent, value in in_flight]
            case "restart reader":
                backlog.close()
                backlog, taken = Backlog([folder]), []
        waiting = len(expected) - len(published) + len(in_flight)
        assert backlog.depth.entries == outbox_depth(spool).entries == waiting
    for intent, _ in in_flight:
        outbox.cancel(intent)
    rest = [one.value for one in publish(backlog)]
    assert len(rest) == len(set(rest))
    assert set(rest) == expected - published
    assert backlog.depth.entries == 0
    outbox.close()
    backlog.close()
