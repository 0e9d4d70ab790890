"""The relay's side of an outbox: nothing twice, nothing lost, the backlog on the disk."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pacsless.codec import Record
from pacsless.outbox import (
    Backlog,
    Outbox,
    outbox_depth,
)
from pacsless.outbox.entries import OldJournal
from pacsless.outbox.journal import segment_path
from pacsless.outbox.lines import framed
from pacsless.outbox.reader import OutboxReader
from tests.eventually import eventually
from tests.outboxes import folder_of, journal_files, keep, promise, publish, record


def test_segments_go_when_all_in_them_is_done(spool: Path) -> None:
    outbox = Outbox(folder_of(spool), segment_bytes=2000)
    backlog = Backlog(lambda: [folder_of(spool)])
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
    again = Backlog(lambda: [folder_of(spool)])
    assert publish(again) == [] and again.depth.entries == 0
    assert len(journal_files(spool)) == 1, "the last one numbers the next"
    again.close()


def test_entries_in_the_form_of_before_are_kept(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(spool)
    outbox = Outbox(folder)
    keep(outbox, 1)
    outbox.close()
    with open(segment_path(folder, 1), "ab") as file:
        file.write(framed(b'N 77 1700000000.000 {"records":[["log_queue","k","{}",[]]]}'))
    before = segment_path(folder, 1).read_bytes()
    backlog = Backlog(lambda: [folder])
    (entry,) = backlog.take(10, 0)
    assert entry.records == (record(1),), "what comes before is published"
    for _ in range(3):
        assert backlog.take(10, 0) == []
    backlog.done([entry.id])
    assert backlog.depth.entries == 1
    assert segment_path(folder, 1).read_bytes() == before
    (said,) = [one for one in caplog.records if "cannot be read" in one.message]
    assert said.exc_info is not None
    assert "old-journal" in str(said.exc_info[1]), "once, with what to do"
    backlog.close()


def test_an_intent_in_the_form_of_before_is_not_decided(spool: Path) -> None:
    folder = folder_of(spool)
    Outbox(folder).close()
    old = b'I 1 1700000000.000 {"sealed":["a",1,"b"],"key":"default/1/2/3.dcm","records":[]}'
    segment_path(folder, 1).write_bytes(framed(old))
    outbox = Outbox(folder)
    with pytest.raises(OldJournal, match="start that one"):
        outbox.unfinished()
    outbox.close()


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
    backlog = Backlog(lambda: [folder_of(spool)])
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


def test_an_outbox_that_comes_later_is_found_while_others_are_busy(spool: Path) -> None:
    folders = [spool / "outbox" / name for name in ("receiver-0", "stow_rs-0")]
    first = Outbox(folders[0])
    backlog = Backlog(lambda: [one for one in folders if one.is_dir()])
    later = Outbox(folders[1])
    later.note([record(1000)])

    def taken() -> bool:
        first.note([record(1)])
        backlog.wake()
        return record(1000) in publish(backlog)

    eventually(taken)


def test_an_outbox_that_cannot_be_read_holds_up_no_other(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [spool / "outbox" / f"receiver-{number}" for number in range(3)]
    outboxes = [Outbox(folder) for folder in folders]
    backlog = Backlog(lambda: folders)
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
    backlog = Backlog(lambda: folders)
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
    backlog = Backlog(lambda: [folder_of(spool)])
    assert publish(backlog) == [record(0)]
    backlog.close()
    before.close()
    journal_files(spool)[0].unlink()  # a crash between two removals, as they once were

    outbox = Outbox(folder_of(spool))
    outbox.note([record(1)])
    backlog = Backlog(lambda: [folder_of(spool)])
    assert publish(backlog) == [record(1)]
    assert [one.stem for one in folder_of(spool).glob("*.done")] == ["000000000002"]
    outbox.close()


def test_what_is_removed_first_is_the_memory(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, backlog = Outbox(folder_of(spool), segment_bytes=1), Backlog(lambda: [folder_of(spool)])
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
    backlog = Backlog(lambda: [folder])
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


def test_a_segment_grows_ahead_and_is_cut_at_the_end(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, backlog = Outbox(folder_of(spool)), Backlog(lambda: [folder_of(spool)])
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
    again, backlog = Outbox(folder_of(spool)), Backlog(lambda: [folder_of(spool)])
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
    backlog = Backlog(lambda: folders)
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
