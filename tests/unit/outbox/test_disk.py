"""The outbox on a disk that is full, fails, or loses its power."""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from pacsless.codec import Record
from pacsless.outbox import (
    Backlog,
    JournalUnavailable,
    Outbox,
    OutboxOwned,
)
from pacsless.outbox.entries import read_bodies
from pacsless.outbox.journal import segments
from tests.eventually import eventually
from tests.outboxes import SEALED, folder_of, journal_files, keep, promise, publish, record, settled


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
    again, backlog = Outbox(folder_of(spool)), Backlog(lambda: [folder_of(spool)])
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
