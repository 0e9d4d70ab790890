from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.bus import Message, Partition, Position
from pacsless.policy import TriggerPolicy
from pacsless.trigger.actions import EXHAUSTED, Bury, Dispatch, Fate, Item, Wait
from pacsless.trigger.lane import Lane

ONE = Partition("storage_queue", 0)
TWO = Partition("storage_queue", 1)


def item(offset: int, partition: Partition = ONE, size: int = 10, code: str = "") -> Item:
    message = Message(partition, offset, 1_000.0 + offset, b"k", b"v", ())
    return Item(message, b"" if code else b"x" * size, code)


def lane_of(count: int, **policy: object) -> Lane:
    chosen = {"linger_ms": 0, "attempts": 3, "backoff_s": 1.0, "backoff_max_s": 8.0} | policy
    lane = Lane(TriggerPolicy(**chosen))  # type: ignore[arg-type]
    lane.adopt(ONE, None)
    for offset in range(count):
        lane.add(item(offset), 0.0)
    return lane


def offsets(action: object) -> list[int]:
    assert isinstance(action, Dispatch)
    return [one.offset for one in action.items]


def test_hands_out_a_batch_and_commits_what_is_done() -> None:
    lane = lane_of(3)
    assert offsets(lane.next(0)) == [0, 1, 2]
    assert lane.positions() == {ONE: Position(0, "attempts=1;upto=2")}
    assert lane.next(0) == Wait(None)
    lane.settle(Fate.DONE, "", 0)
    assert lane.positions() == {ONE: Position(3, "")}
    assert lane.next(0) == Wait(None)


def test_limits_a_batch_by_events_and_bytes() -> None:
    assert offsets(lane_of(5, max_events=2).next(0)) == [0, 1]
    assert offsets(lane_of(5, max_bytes=35).next(0)) == [0, 1, 2]
    assert offsets(lane_of(5, max_bytes=1).next(0)) == [0]


def test_lingers_for_a_batch_that_is_not_full() -> None:
    lane = lane_of(1, linger_ms=500, max_events=2)
    assert lane.next(0.1) == Wait(0.5)
    lane.add(item(1), 0.2)
    assert offsets(lane.next(0.2)) == [0, 1]
    assert offsets(lane_of(1, linger_ms=500).next(0.5)) == [0]


def test_rests_in_proportion_to_what_a_batch_took() -> None:
    lane = lane_of(2, max_events=1, rest=4.0)
    assert offsets(lane.next(0)) == [0]
    lane.settle(Fate.DONE, "", 2.0)
    assert lane.next(2.0) == Wait(10.0)
    assert offsets(lane.next(10.0)) == [1]
    lane.settle(Fate.DONE, "", 30.0)
    lane.add(item(2), 30.0)
    assert lane.next(30.0) == Wait(45.0)


def test_does_not_rest_between_the_halves_of_a_batch() -> None:
    lane = lane_of(2, rest=4.0)
    assert offsets(lane.next(0)) == [0, 1]
    lane.settle(Fate.REFUSED, "truncated", 1.0)
    assert offsets(lane.next(1.0)) == [0]
    lane.settle(Fate.DONE, "", 2.0)
    assert offsets(lane.next(2.0)) == [1]


def test_a_refused_batch_is_halved_until_the_poison_is_alone() -> None:
    lane = lane_of(4)
    sent, buried = [], []
    while not isinstance(action := lane.next(0), Wait):
        if isinstance(action, Bury):
            buried.append((action.item.offset, action.code, action.attempts))
            lane.settle(Fate.DONE, "", 0)
            continue
        sent.append(offsets(action))
        poisoned = 2 in offsets(action)
        lane.settle(Fate.REFUSED if poisoned else Fate.DONE, "truncated", 0)
    assert sent == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
    assert buried == [(2, "truncated", 1)]
    assert lane.positions() == {ONE: Position(4, "")}


def test_a_single_event_gets_all_its_attempts_with_growing_pauses() -> None:
    lane, now, pauses = lane_of(1), 0.0, []
    for attempt in (1, 2, 3):
        assert offsets(lane.next(now)) == [0]
        assert lane.positions()[ONE] == Position(0, f"attempts={attempt};upto=0")
        lane.settle(Fate.FAILED, "timeout", now)
        wait = lane.next(now)
        if isinstance(wait, Wait):
            assert wait.until is not None
            pauses.append(wait.until - now)
            now = wait.until
    assert pauses == [1.0, 2.0, 4.0]
    assert lane.next(now) == Bury(item(0), "timeout", 3)


def test_half_of_an_exhausted_batch_gets_one_try_before_it_is_halved() -> None:
    lane, now, sent = lane_of(4, attempts=2), 0.0, []
    while True:
        action = lane.next(now)
        if isinstance(action, Wait):
            assert action.until is not None
            now = action.until
            continue
        if isinstance(action, Bury):
            assert (action.item.offset, action.code) == (0, "worker-lost")
            break
        sent.append(offsets(action))
        lane.settle(Fate.FAILED if 0 in offsets(action) else Fate.DONE, "worker-lost", now)
    assert sent == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1], [0], [0]]


@pytest.mark.parametrize("fate", [Fate.DOWN, Fate.BUSY])
def test_down_and_busy_count_no_attempt(fate: Fate) -> None:
    lane, now = lane_of(2, attempts=1), 0.0
    for _ in range(50):
        assert offsets(lane.next(now)) == [0, 1]
        lane.settle(fate, "database", now)
        wait = lane.next(now)
        assert isinstance(wait, Wait)
        assert wait.until is not None
        assert 1.0 <= wait.until - now <= 8.0
        now = wait.until
        assert lane.positions()[ONE] == Position(0, "")


def test_dead_letters_out_of_reach_are_tried_again() -> None:
    lane = lane_of(0)
    lane.add(item(0, code="not-a-cloudevent"), 0.0)
    bury = Bury(item(0, code="not-a-cloudevent"), "not-a-cloudevent", 0)
    assert lane.next(0) == bury
    lane.settle(Fate.DOWN, "broker", 0)
    assert lane.next(0) == Wait(1.0)
    assert lane.next(1) == bury
    lane.settle(Fate.DONE, "", 1)
    assert lane.positions()[ONE] == Position(1, "")


def test_a_record_that_is_no_cloudevent_splits_batches() -> None:
    lane = lane_of(2)
    lane.add(item(2, code="not-json"), 0)
    lane.add(item(3), 0)
    assert offsets(lane.next(0)) == [0, 1]
    lane.settle(Fate.DONE, "", 0)
    assert isinstance(lane.next(0), Bury)
    lane.settle(Fate.DONE, "", 0)
    assert offsets(lane.next(0)) == [3]


class TestAfterACrash:
    """The attempt was committed before the batch was sent, so a successor knows of it."""

    def successor(self, position: Position, count: int, **policy: object) -> Lane:
        lane = lane_of(0, **policy)
        lane.adopt(ONE, position)
        for offset in range(position.offset, count):
            lane.add(item(offset), 0)
        return lane

    def test_attempts_go_on_and_the_batch_is_the_same(self) -> None:
        lane = self.successor(Position(1, "attempts=1;upto=2"), 6)
        assert offsets(lane.next(0)) == [1, 2]
        assert lane.positions()[ONE] == Position(1, "attempts=2;upto=2")
        lane.settle(Fate.DONE, "", 0)
        assert offsets(lane.next(0)) == [3, 4, 5]
        assert lane.positions()[ONE] == Position(3, "attempts=1;upto=5")

    def test_what_kills_the_trigger_every_time_is_found_and_buried(self) -> None:
        poison, position, buried = 2, Position(0, ""), []
        for _ in range(40):  # each time round, the trigger is another process
            lane = self.successor(position, 5)
            now = 0.0
            while True:
                action = lane.next(now)
                position = lane.positions()[ONE]
                if isinstance(action, Wait):
                    break
                if isinstance(action, Bury):
                    buried.append((action.item.offset, action.code))
                elif poison in offsets(action):
                    break
                lane.settle(Fate.DONE, "", now)
            if position.offset == 5:
                break
        assert buried == [(poison, EXHAUSTED)]
        assert position == Position(5, "")

    def test_other_metadata_counts_nothing(self) -> None:
        lane = self.successor(Position(0, "from another tool"), 2)
        lane.next(0)
        assert lane.positions()[ONE] == Position(0, "attempts=1;upto=1")


class TestRelease:
    def test_uncounts_an_attempt_that_has_not_ended(self) -> None:
        lane = lane_of(2)
        lane.next(0)
        assert lane.release(ONE) == Position(0, "")
        lane.settle(Fate.DONE, "", 0)
        assert lane.positions() == {}

    def test_keeps_an_attempt_that_failed(self) -> None:
        lane = lane_of(2)
        lane.next(0)
        lane.settle(Fate.FAILED, "timeout", 0)
        assert lane.release(ONE) == Position(0, "attempts=1;upto=1")

    def test_leaves_the_other_partitions_of_a_topic_alone(self) -> None:
        lane = lane_of(2, gather="topic")
        lane.adopt(TWO, Position(7))
        lane.add(item(7, TWO), 0)
        lane.add(item(2), 0)
        action = lane.next(0)
        assert isinstance(action, Dispatch)
        assert [(one.partition, one.offset) for one in action.items] == [
            (ONE, 0), (ONE, 1), (TWO, 7), (ONE, 2),
        ]  # fmt: skip
        assert lane.release(ONE) == Position(0, "")
        lane.settle(Fate.REFUSED, "schema", 0)
        action = lane.next(0)
        assert isinstance(action, Dispatch)
        assert [one.partition for one in action.items] == [TWO]
        lane.settle(Fate.DONE, "", 0)
        assert lane.positions() == {TWO: Position(8, "")}


@pytest.mark.parametrize("handled_before", [0, 3])
def test_a_log_that_starts_anew_is_handled_from_there(handled_before: int) -> None:
    """A topic made again, or cut off by a power cut: Kafka's client goes back to its start."""
    lane = lane_of(0)
    lane.adopt(ONE, Position(5, "attempts=2;upto=9"))
    for offset in range(5, 5 + handled_before):
        lane.add(item(offset), 0)
    if handled_before:
        assert offsets(lane.next(0)) == [5, 6, 7]
        lane.settle(Fate.DONE, "", 0)
    for offset in range(2):
        lane.add(item(offset), 0)
    assert offsets(lane.next(0)) == [0, 1]
    assert lane.positions() == {ONE: Position(0, "attempts=1;upto=1")}
    lane.settle(Fate.DONE, "", 0)
    assert lane.positions() == {ONE: Position(2, "")}


def test_what_was_done_while_a_partition_was_away_is_not_handled_again() -> None:
    lane = lane_of(2)
    lane.next(0)
    lane.release(ONE)
    lane.adopt(ONE, Position(0))
    lane.settle(Fate.DONE, "", 0)
    for offset in range(3):
        lane.add(item(offset), 0)
    assert offsets(lane.next(0)) == [2]


def test_reads_on_while_less_than_two_batches_wait() -> None:
    lane = lane_of(3, max_events=2)
    assert lane.wants_more
    lane.add(item(3), 0)
    assert not lane.wants_more
    lane.next(0)
    assert lane.wants_more


def test_tells_how_much_waits_and_since_when() -> None:
    lane = lane_of(0, gather="topic", max_events=2)
    lane.adopt(TWO, None)
    assert (lane.pending, lane.oldest(ONE)) == (0, None)
    for one in (item(0), item(1), item(2), item(0, TWO)):
        lane.add(one, 0)
    lane.next(0)
    assert (lane.pending, lane.oldest(ONE), lane.oldest(TWO)) == (4, 1_000.0, 1_000.0)
    lane.settle(Fate.DONE, "", 0)
    assert (lane.pending, lane.oldest(ONE), lane.oldest(TWO)) == (2, 1_002.0, 1_000.0)
    lane.next(0)
    lane.settle(Fate.DONE, "", 0)
    # What comes next was not read yet; the last that was tells about how old it is.
    assert (lane.pending, lane.oldest(ONE)) == (0, 1_002.0)
    lane.release(ONE)
    assert lane.oldest(ONE) is None


@dataclass
class World:
    """A function with a fixed opinion of each event, and what became of them."""

    opinions: dict[tuple[Partition, int], list[Fate]]
    done: list[tuple[Partition, int]] = field(default_factory=list)
    buried: list[tuple[Partition, int]] = field(default_factory=list)

    def opinion(self, key: tuple[Partition, int]) -> Fate:
        fates = self.opinions[key]
        return fates.pop(0) if len(fates) > 1 else fates[0]

    def answer(self, action: Dispatch) -> Fate:
        """The worst opinion is the batch's fate; what passes once is done."""
        keys = [(one.partition, one.offset) for one in action.items]
        told = [self.opinion(key) for key in keys]
        for fate in (Fate.DOWN, Fate.BUSY, Fate.FAILED, Fate.REFUSED):
            if fate in told:
                return fate
        self.done += keys
        return Fate.DONE


FINAL = st.sampled_from([Fate.DONE, Fate.DONE, Fate.REFUSED, Fate.FAILED])
OPINION = st.tuples(st.lists(st.sampled_from(list(Fate)), max_size=3), FINAL).map(
    lambda drawn: [*drawn[0], drawn[1]]
)


@settings(max_examples=150)
@given(
    opinions=st.lists(st.tuples(st.sampled_from([ONE, TWO]), OPINION), max_size=24),
    arrivals=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    max_events=st.integers(1, 9),
    attempts=st.integers(1, 4),
    buries=st.lists(st.booleans(), max_size=4),
    crashes=st.sets(st.integers(0, 30), max_size=2),
)
def test_every_event_ends_once_in_order_and_no_commit_passes_an_open_one(
    *,
    opinions: list[tuple[Partition, list[Fate]]],
    arrivals: list[int],
    max_events: int,
    attempts: int,
    buries: list[bool],
    crashes: set[int],
) -> None:
    policy = TriggerPolicy(max_events=max_events, attempts=attempts, gather="topic", linger_ms=10)
    log: dict[Partition, list[int]] = {ONE: [], TWO: []}
    for partition, _ in opinions:
        log[partition].append(len(log[partition]))
    counters = {ONE: 0, TWO: 0}
    world = World({})
    order: list[tuple[Partition, int]] = []
    for partition, fates in opinions:
        key = (partition, counters[partition])
        counters[partition] += 1
        order.append(key)
        world.opinions[key] = list(fates)
    committed = {ONE: Position(0), TWO: Position(0)}

    def start() -> tuple[Lane, list[tuple[Partition, int]]]:
        lane = Lane(policy)
        for partition in (ONE, TWO):
            lane.adopt(partition, committed[partition])
        return lane, [key for key in order if key[1] >= committed[key[0]].offset]

    lane, unread = start()
    now, step = 0.0, 0
    while True:
        for key in unread[: arrivals[step % len(arrivals)]]:
            lane.add(item(key[1], key[0]), now)
        unread = unread[arrivals[step % len(arrivals)] :]
        step += 1
        assert step < 3_000, "never comes to an end"
        action = lane.next(now)
        for partition, position in lane.positions().items():
            ended = {o for p, o in world.done + world.buried if p == partition}
            assert set(range(position.offset)) <= ended
            committed[partition] = position
        if isinstance(action, Wait):
            if action.until is None and not unread:
                break
            now = max(now, action.until or now)
        elif step in crashes:
            lane, unread = start()  # whatever was in flight is not known to have ended
        elif isinstance(action, Bury):
            reached = buries.pop() if buries else True
            if reached:
                world.buried.append((action.item.partition, action.item.offset))
            lane.settle(Fate.DONE if reached else Fate.DOWN, "", now)
        else:
            lane.settle(world.answer(action), "code", now)

    everything = world.done + world.buried
    assert set(everything) == set(order)
    assert len(everything) == len(set(everything))
    for partition in (ONE, TWO):
        assert [o for p, o in world.done if p == partition] == sorted(
            o for p, o in world.done if p == partition
        )
        assert committed[partition] == Position(len(log[partition]), "")
