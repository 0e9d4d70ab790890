"""The outbox keeps every promise, whatever the order of things."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.outbox import (
    Backlog,
    DiskSpace,
    Intent,
    Outbox,
    OutboxOwned,
    outbox_depth,
)
from tests.outboxes import SEALED, folder_of, journal_files, keep, promise, publish, record


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


@pytest.mark.parametrize("odd", [b"\n", b"\0", b"\x1e", b"\x1f"])
@pytest.mark.parametrize("place", ["key", "value", "header"])
def test_a_record_that_a_line_cannot_hold_is_refused_and_harms_no_other(
    outbox: Outbox, backlog: Backlog, odd: bytes, place: str
) -> None:
    plain = record(0)
    broken = {
        "key": replace(plain, key=b"a" + odd),
        "value": replace(plain, value=odd + b"a"),
        "header": replace(plain, headers=(("ce_id", odd),)),
    }[place]
    keep(outbox, 1)
    with pytest.raises(ValueError, match="control characters"):
        outbox.intend(SEALED, "default/1/2/3.dcm", [plain, broken])
    with pytest.raises(ValueError, match="control characters"):
        outbox.note([broken])
    outbox.kept(promise(outbox, 2), [broken])
    assert publish(backlog) == [record(1), record(2)], "a fate does not hang on its note"


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
    reading = Backlog(lambda: [folder])
    keep(before, 0)
    keep(before, 1)
    done, _ = reading.take(2, 0)
    reading.done([done.id])
    open_intent, cancelled = promise(before, 2), promise(before, 3)
    before.cancel(cancelled)
    before.close()

    after, reading = Outbox(folder), Backlog(lambda: [folder])
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
        Backlog(lambda: [folder_of(spool)]).take(1, 0)  # not acknowledged
        outbox.close()
    backlog = Backlog(lambda: [folder_of(spool)])
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
        again, backlog = Outbox(torn), Backlog(partial(list, [torn]))
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
    assert publish(Backlog(lambda: [folder_of(spool)])) == [record(0), record(2)]
    assert "damaged line in the journal" in caplog.text


def test_a_note_of_nothing_is_nothing(outbox: Outbox, backlog: Backlog, spool: Path) -> None:
    outbox.note([])
    assert backlog.depth.entries == 0 and not journal_files(spool)


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
    backlog = Backlog(lambda: [folder_of(spool)])
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


@settings(max_examples=60)
@given(steps=STEPS)
def test_any_history_ends_with_everything_published(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Writer and reader are two processes: either may be started again at any time."""
    spool = tmp_path_factory.mktemp("spool")
    folder = folder_of(spool)
    outbox, backlog = Outbox(folder, segment_bytes=700), Backlog(lambda: [folder])
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
                backlog, taken = Backlog(lambda: [folder]), []
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
