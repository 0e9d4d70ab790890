"""The outbox keeps every promise through failing disks, torn files and restarts."""

from __future__ import annotations

import errno
import os
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
    whole = journal_files(spool)[0].read_bytes()
    keep(outbox, 1)
    outbox.close()
    longer = journal_files(spool)[0].read_bytes()
    for size in range(len(whole), len(longer)):
        torn = folder_of(tmp_path / f"torn{size}")
        torn.mkdir(parents=True)
        (torn / "000000000001.journal").write_bytes(longer[:size])
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


def test_a_full_disk_refuses_and_recovers(
    outbox: Outbox, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20])  # then nothing more fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(JournalUnavailable, match="No space left"):
        promise(outbox, 1)
    monkeypatch.setattr(os, "write", real)
    keep(outbox, 2)
    assert publish(backlog) == [record(2)]


def test_a_mark_the_full_disk_refused_is_made_up_for(
    outbox: Outbox, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = promise(outbox, 1)
    real = os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    outbox.kept(intent, [record(2)])
    outbox.settle()
    assert publish(backlog) == [] and backlog.depth.entries == 1
    monkeypatch.setattr(os, "write", real)
    outbox.settle()
    assert publish(backlog) == [record(1), record(2)]
    outbox.settle()
    assert publish(backlog) == [] and backlog.depth.entries == 0


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


def test_a_journal_that_cannot_be_read_for_a_moment_loses_no_entry(
    spool: Path, monkeypatch: pytest.MonkeyPatch
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

    def refuse(path: Any, *arguments: Any) -> Any:
        tried.append(path)
        if len(tried) == 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OSError, match="Too many"):
        backlog.take(10, 0)
    assert sorted(one.value for one in publish(backlog)) == [record(n).value for n in range(3)]
    assert backlog.depth.entries == 0
    outbox.close()


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


def test_a_line_that_is_being_written_is_not_read_yet(outbox: Outbox, spool: Path) -> None:
    keep(outbox, 0)
    (file,) = journal_files(spool)
    whole = file.read_bytes()
    reader = OutboxReader(folder_of(spool))
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert [line.records() for line in reader.take(10)] == []
    file.write_bytes(whole)
    assert [line.records() for line in reader.take(10)] == [(record(0),)]


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
