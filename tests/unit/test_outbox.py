"""The outbox keeps every promise through failing disks, torn files and restarts."""

from __future__ import annotations

import errno
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.outbox import Intent, JournalUnavailable, Outbox, OutboxOwned, outbox_depth
from pacsless.outbox.journal import segment_path
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


def publish(outbox: Outbox, limit: int = 100_000) -> list[Record]:
    """Take and acknowledge everything there is."""
    found = []
    while entries := outbox.take(limit, 0):
        found += [one for entry in entries for one in entry.records]
        outbox.done(entry.id for entry in entries)
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def outbox(spool: Path) -> Iterator[Outbox]:
    spool.mkdir()
    box = Outbox(spool)
    yield box
    box.close()


def journal_files(spool: Path) -> list[Path]:
    return sorted((spool / "outbox").glob("*.journal"))


def test_what_is_kept_is_published_once_and_unchanged(outbox: Outbox, spool: Path) -> None:
    for number in range(3):
        keep(outbox, number)
    outbox.note([record(3)])
    assert outbox.depth.entries == outbox_depth(spool).entries == 4
    assert publish(outbox) == [record(number) for number in range(4)]
    assert outbox.take(1, 0) == []
    assert outbox.depth.entries == outbox_depth(spool).entries == 0


def test_an_intent_is_published_only_once_its_file_has_the_key(outbox: Outbox) -> None:
    slow, gone = promise(outbox, 0), promise(outbox, 1)
    keep(outbox, 2)
    assert publish(outbox) == [record(2)]
    outbox.cancel(gone)
    outbox.kept(slow)
    assert publish(outbox) == [record(0)]
    assert outbox.depth.entries == 0


def test_an_acknowledgement_outstanding_at_a_restart_is_published_again(spool: Path) -> None:
    spool.mkdir()
    before = Outbox(spool)
    keep(before, 0)
    keep(before, 1)
    done, _ = before.take(2, 0)
    before.done([done.id])
    open_intent, cancelled = promise(before, 2), promise(before, 3)
    before.cancel(cancelled)
    before.close()

    after = Outbox(spool)
    assert [one.key for one in after.unfinished] == [open_intent.key]
    assert after.unfinished[0].sealed == SEALED
    assert publish(after) == [record(1)]
    after.kept(after.unfinished[0])
    assert publish(after) == [record(2)]
    after.close()
    assert outbox_depth(spool).entries == 0


def test_ids_are_not_used_again_after_a_restart(spool: Path) -> None:
    spool.mkdir()
    for number in range(3):
        outbox = Outbox(spool)
        keep(outbox, number)
        outbox.take(1, 0)  # not acknowledged
        outbox.close()
    outbox = Outbox(spool)
    assert publish(outbox) == [record(number) for number in range(3)]
    outbox.close()


def test_a_torn_tail_loses_only_what_nobody_was_promised(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    outbox = Outbox(spool)
    keep(outbox, 0)
    whole = journal_files(spool)[0].read_bytes()
    keep(outbox, 1)
    outbox.close()
    longer = journal_files(spool)[0].read_bytes()
    for size in range(len(whole), len(longer)):
        torn = tmp_path / f"torn{size}"
        (torn / "outbox").mkdir(parents=True)
        (torn / "outbox" / "000000000001.journal").write_bytes(longer[:size])
        again = Outbox(torn)
        for intent in again.unfinished:
            again.kept(intent)
        keep(again, 7)
        found = publish(again)
        assert found[0] == record(0) and found[-1] == record(7), size
        again.close()


def test_a_rotten_line_costs_itself_alone(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool.mkdir()
    outbox = Outbox(spool)
    for number in range(3):
        outbox.note([record(number)])
    outbox.close()
    file = journal_files(spool)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"storage_queue", b"storage_qxeue")
    file.write_bytes(b"".join(lines))
    outbox = Outbox(spool)
    assert publish(outbox) == [record(0), record(2)]
    outbox.close()
    assert "damaged line in the journal" in caplog.text


def test_concurrent_promises_share_an_fsync(
    outbox: Outbox, spool: Path, monkeypatch: pytest.MonkeyPatch
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
    assert sorted(publish(outbox), key=str) == sorted(map(record, range(40)), key=str)


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
    outbox: Outbox, spool: Path, monkeypatch: pytest.MonkeyPatch
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
    assert publish(outbox) == [record(0), record(2)]
    assert outbox.depth.entries == 0


def test_a_full_disk_refuses_and_recovers(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert publish(outbox) == [record(2)]


def test_segments_go_when_all_in_them_is_done(spool: Path) -> None:
    spool.mkdir()
    outbox = Outbox(spool, segment_bytes=2000)
    first = promise(outbox, 0)
    for number in range(1, 60):
        keep(outbox, number)
    assert len(journal_files(spool)) > 5
    assert len(publish(outbox, limit=7)) == 59
    assert journal_files(spool)[0].name == "000000000001.journal", "its first intent is open"
    outbox.kept(first)
    assert publish(outbox) == [record(0)]
    outbox.note([record(60)])
    assert publish(outbox) == [record(60)]
    assert len(journal_files(spool)) <= 2
    outbox.close()
    again = Outbox(spool)
    assert journal_files(spool) == [] and publish(again) == []
    again.close()


def test_the_backlog_stays_on_the_disk(outbox: Outbox, spool: Path) -> None:
    big = Record("log_queue", b"k", b"x" * 2000, ())
    outbox.note([big])
    tracemalloc.start()
    try:
        for _ in range(3000):
            outbox.note([big])
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(one.stat().st_size for one in journal_files(spool)) > 6_000_000
    assert grown < 200_000
    assert outbox.depth.entries == 3001


def test_a_journal_that_cannot_be_read_for_a_moment_loses_no_entry(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.mkdir()
    outbox = Outbox(spool, segment_bytes=1)
    late = promise(outbox, 0)
    assert outbox.take(1, 0) == []  # the cursor passes it
    keep(outbox, 1)
    keep(outbox, 2)
    outbox.kept(late)
    tried: list[Path] = []

    def refuse(folder: Path, number: int) -> Path:
        path = segment_path(folder, number)
        tried.append(path)
        return path if len(tried) != 3 else folder  # as if out of file descriptors

    monkeypatch.setattr("pacsless.outbox.box.segment_path", refuse)
    with pytest.raises(OSError):
        outbox.take(10, 0)
    assert sorted(one.value for one in publish(outbox)) == [record(n).value for n in range(3)]
    assert outbox.depth.entries == 0
    outbox.close()


def test_a_second_owner_is_told_who_the_first_is(outbox: Outbox, spool: Path) -> None:
    with pytest.raises(OutboxOwned, match=f"process {os.getpid()} on .*PACSLESS_SPOOL"):
        Outbox(spool)


def test_the_age_is_that_of_the_oldest(outbox: Outbox, spool: Path) -> None:
    outbox.note([record(0)])
    time.sleep(0.05)
    outbox.note([record(1)])
    outbox.take(2, 0)
    assert 0.05 <= outbox.depth.oldest_seconds < 30
    assert 0.05 <= outbox_depth(spool).oldest_seconds < 30


def test_no_outbox_has_no_depth(tmp_path: Path) -> None:
    assert outbox_depth(tmp_path).entries == 0


@pytest.mark.parametrize(("percent", "full"), [(0, True), (100, False)])
def test_the_high_water_mark(tmp_path: Path, percent: int, full: bool) -> None:
    outbox = Outbox(tmp_path, high_water_percent=percent)
    assert outbox.is_full is full
    outbox.close()


def test_a_taker_is_woken(outbox: Outbox) -> None:
    found: list[int] = []
    taker = threading.Thread(target=lambda: found.append(len(outbox.take(10, 30))))
    taker.start()
    keep(outbox, 0)
    taker.join(10)
    assert found == [1]


STEPS = st.lists(
    st.sampled_from(["promise", "keep", "cancel", "note", "take", "done", "restart"]), max_size=60
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_any_history_ends_with_everything_published(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    outbox = Outbox(spool, segment_bytes=700)
    expected: set[bytes] = set()
    published: set[bytes] = set()
    in_flight: list[tuple[Intent, bytes]] = []
    taken: list[tuple[int, bytes]] = []
    for number, step in enumerate([*steps, "restart"]):
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
                taken += [(one.id, one.records[0].value) for one in outbox.take(3, 0)]
            case "done" if taken:
                done, value = taken.pop()
                outbox.done([done])
                published.add(value)
            case "restart":
                outbox.close()
                outbox = Outbox(spool, segment_bytes=700)
                assert {one.key for one in outbox.unfinished} == {
                    intent.key for intent, _ in in_flight
                }
                by_key = {one.key: one for one in outbox.unfinished}
                in_flight = [(by_key[intent.key], value) for intent, value in in_flight]
                taken = []
        waiting = len(expected) - len(published) + len(in_flight)
        assert outbox.depth.entries == outbox_depth(spool).entries == waiting
    for intent, _ in in_flight:
        outbox.cancel(intent)
    rest = [one.value for one in publish(outbox)]
    assert len(rest) == len(set(rest))
    assert set(rest) == expected - published
    outbox.close()
