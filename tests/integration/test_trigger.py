"""The trigger as a process, between a real broker and a real function."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pacsless import bus
from pacsless.bus import Message, Partition
from pacsless.codec import to_record
from tests.eventually import eventually
from tests.services import KafkaBroker
from tests.triggers import TOPIC, Bench, access, by_study, expected

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(empty_kafka: KafkaBroker, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(empty_kafka, tmp_path, stack)


def test_every_event_once_and_each_study_in_order(bench: Bench) -> None:
    events = bench.publish(*(access(number) for number in range(300)))
    bench.function()
    bench.trigger()
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0


def test_one_poison_event_is_isolated_and_its_dead_letter_is_whole(bench: Bench) -> None:
    bench.function()
    events = bench.publish(*(access(n, "poison" if n == 17 else "ok") for n in range(40)))
    bench.trigger()
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected([*events[:17], *events[18:]])
    (letter,) = bench.dead_letters()
    sent = to_record(events[17], "/test")
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (sent.key, sent.value)
    assert {name for name, _ in sent.headers} <= set(headers)
    added = {name: value.decode() for name, value in headers.items() if name.startswith("dlq_")}
    assert added.pop("dlq_time")
    partition = int(added.pop("dlq_partition"))
    assert 0 <= partition < 4
    assert int(added.pop("dlq_offset")) >= 0
    assert added == {
        "dlq_code": "truncated",
        "dlq_attempts": "1",
        "dlq_function": "record_access",
        "dlq_topic": TOPIC,
    }


@pytest.mark.parametrize(("route", "code"), [("crash", "worker-lost"), ("bug", "unexpected")])
def test_an_event_that_breaks_its_worker_is_a_dead_letter_after_its_attempts(
    bench: Bench, route: str, code: str
) -> None:
    bench.function()
    events = bench.publish(*(access(n, route if n == 5 else "ok") for n in range(12)))
    bench.trigger()
    bench.await_no_lag()
    # A worker that ends takes what another lane had just sent with it, so that
    # may be recorded twice; nothing is lost.
    assert {event for _, event in bench.recorded()} == {
        one.id for one in events if one.route == "ok"
    }
    (letter,) = bench.dead_letters()
    headers = dict(letter.headers)
    assert headers["dlq_code"] == code.encode()
    assert headers["dlq_attempts"] == b"2"
    for log in ("function.log", "trigger.log"):
        assert "CANARY" not in (bench.folder / log).read_text()
    assert b"CANARY" not in b"".join(v for n, v in headers.items() if n.startswith("dlq_"))


def test_an_event_that_kills_worker_and_trigger_reaches_the_dead_letters(bench: Bench) -> None:
    bench.function()
    events = bench.publish(*(access(n, "crash-both" if n == 2 else "ok", 1) for n in range(4)))
    triggers = 0
    while bench.lag():
        triggers += 1
        assert triggers < 20, "the attempts are forgotten"
        trigger = bench.trigger()
        eventually(lambda: trigger.poll() is not None or bench.lag() == 0)  # noqa: B023
        if trigger.poll() is not None:
            bench.broker.evict_members(bus.group_id(bench.name))
    assert triggers > 2
    (letter,) = bench.dead_letters()
    assert letter.value == to_record(events[2], "/test").value
    assert dict(letter.headers)["dlq_code"] == b"attempts-exhausted"
    assert {event for _, event in bench.recorded()} == {
        one.id for one in events if one.route == "ok"
    }


def test_a_dependency_that_is_down_pauses_and_makes_no_dead_letter(bench: Bench) -> None:
    bench.function()
    events = bench.publish(*(access(n, "down", 2) for n in range(8)))
    bench.trigger()
    log = bench.folder / "function.log"
    eventually(lambda: log.read_text().count('"outcome": "database"') > 6)
    assert bench.lag() == 8
    bench.record.with_suffix(".up").touch()
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0


def test_a_function_that_is_not_there_yet_is_waited_for(bench: Bench) -> None:
    events = bench.publish(*(access(n) for n in range(8)))
    bench.trigger(metrics_port=bench.metrics_port)
    eventually(lambda: bench.held("trigger"))
    # The lag the broker tells everybody, KEDA too.
    eventually(lambda: bench.metric("pacsless_trigger_lag{") == bench.lag() == 8)
    assert bench.metric("pacsless_trigger_oldest_seconds{") > 0
    bench.function()
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0


def test_a_record_that_is_no_cloudevent_is_a_dead_letter_and_passes_no_function(
    bench: Bench,
) -> None:
    bench.function()
    bench.producer.copy(Message(Partition(TOPIC, 0), 0, 0.0, None, None, ()), TOPIC, ())
    good = bench.publish(access(1))
    bench.trigger()
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(good)
    (letter,) = bench.dead_letters()
    assert dict(letter.headers)["dlq_code"] == b"not-a-cloudevent"


def test_triggers_share_the_partitions_and_hand_them_over_without_loss(bench: Bench) -> None:
    bench.function()
    first = bench.trigger()
    events = bench.publish(*(access(n, "slow" if n % 20 == 0 else "ok") for n in range(200)))
    eventually(lambda: len(bench.recorded()) > 20)
    bench.trigger()
    events += bench.publish(*(access(n, "slow" if n % 20 == 0 else "ok") for n in range(200, 400)))
    eventually(lambda: len(bench.recorded()) > 220)
    first.send_signal(signal.SIGTERM)
    first.wait(40)
    assert first.returncode == 0
    bench.await_no_lag()
    # Handed over gracefully: finished and committed before they went.
    assert by_study(bench.recorded()) == expected(events)


def test_work_goes_on_after_the_broker_was_away(bench: Bench) -> None:
    bench.function()
    bench.trigger()
    events = bench.publish(*(access(n) for n in range(20)))
    eventually(lambda: len(bench.recorded()) == 20)
    bench.broker.stop(signal.SIGKILL)
    log = bench.folder / "trigger.log"
    eventually(lambda: re.search("kafka does not answer|KafkaConnectionError", log.read_text()))
    bench.broker.start()
    events += bench.publish(*(access(n) for n in range(20, 40)))
    bench.await_no_lag()
    assert {event for _, event in bench.recorded()} == {one.id for one in events}


def test_a_killed_trigger_loses_nothing_and_each_study_stays_in_one_hand(bench: Bench) -> None:
    bench.function()
    first, _ = bench.trigger("first"), bench.trigger("second")
    eventually(lambda: [len(bench.held(one)) for one in ("first", "second")] == [2, 2])
    events = bench.publish(*(access(n, "slow" if n % 9 == 0 else "ok", 12) for n in range(240)))
    eventually(lambda: len(bench.recorded()) > 60)
    first.kill()
    first.wait(40)
    # As its session would in 15 s: not before what it had sent is done.
    eventually(lambda: not bench.in_hand())
    bench.broker.evict_members(bus.group_id(bench.name))
    bench.await_no_lag()
    in_order = {
        study: list(dict.fromkeys(ids)) for study, ids in by_study(bench.recorded()).items()
    }
    assert in_order == expected(events)
    assert not bench.record.with_suffix(".overlap").exists()
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0


def test_a_named_trigger_comes_back_to_its_partitions_and_disturbs_no_other(bench: Bench) -> None:
    bench.function()
    first = bench.trigger("first", instance="first")
    bench.trigger("second", instance="second")
    eventually(lambda: [len(bench.held(one)) for one in ("first", "second")] == [2, 2])
    held, undisturbed = bench.held("first"), bench.holds("second")
    events = bench.publish(*(access(n) for n in range(40)))
    bench.await_no_lag()
    first.kill()
    first.wait(40)
    bench.trigger("again", instance="first")
    eventually(lambda: held in bench.holds("again"))
    events += bench.publish(*(access(n) for n in range(40, 80)))
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert bench.holds("second") == undisturbed


def test_a_trigger_whose_name_another_takes_says_so_and_ends(bench: Bench) -> None:
    first = bench.trigger("first", instance="same")
    eventually(lambda: bench.holds("first"))
    second = bench.trigger("second", instance="same")
    first.wait(60)
    assert first.returncode == 1
    assert (
        "another process has joined the group as the same instance"
        in (bench.folder / "first.log").read_text()
    )
    bench.function()
    events = bench.publish(*(access(n) for n in range(20)))
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert second.poll() is None
