"""The trigger as a process, between a real broker and a real function."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import urllib3

from pacsless import bus
from pacsless.bus import Message, Partition, Producer
from pacsless.codec import to_record
from pacsless.events import AccessLogged
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, KafkaBroker

pytestmark = pytest.mark.kafka

FUNCTIONS = REPOSITORY / "tests" / "integration" / "functions"
TOPIC = AccessLogged.TOPIC
TRIGGER = """
import os, sys
from pathlib import Path
from pacsless import log, trigger
from pacsless.settings import Settings
log.configure("trigger")
Path(sys.argv[2]).write_text(str(os.getpid()))
trigger.run(sys.argv[4], sys.argv[1], Settings.from_environ(), root=Path(sys.argv[3]))
"""


def access(number: int, route: str = "retrieve_instance", studies: int = 5) -> AccessLogged:
    return AccessLogged(
        tenant_id="default", request_id=str(number), accessed_at="2026-11-23T08:00:00.000000Z",
        method="GET", route=route, path="/studies", study_instance_uid=f"1.2.{number % studies}",
        series_instance_uid="", sop_instance_uid="", status=200, bytes_sent=0, duration_ms=1.0,
        remote_address="127.0.0.1", user_agent="CANARY^NAME",
    )  # fmt: skip


class Bench:
    """A broker, a function and its triggers."""

    name, topic, functions = "record_access", TOPIC, FUNCTIONS

    def __init__(self, broker: KafkaBroker, folder: Path, stack: ExitStack) -> None:
        self.broker, self.folder, self._stack = broker, folder, stack
        self.record = folder / "record"
        self.record.touch()
        self._port = free_ports(1)[0]
        self.producer = Producer(broker.settings, "test")
        stack.callback(self.producer.close)

    def environ(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PACSLESS_KAFKA": ",".join(self.broker.servers),
            "RECORD": str(self.record),
            **more,
        }

    def function(self) -> None:
        """Start the function, as it is deployed."""
        command = [str(Path(sys.executable).with_name("functions-framework"))]
        environ = self.environ(
            FUNCTION_TARGET=self.name,
            FUNCTION_SOURCE=str(self.functions / self.name / "main.py"),
            HOST="127.0.0.1", PORT=str(self._port), THREADS="4",
        )  # fmt: skip
        self._stack.enter_context(_running(command, environ, self.folder / "function.log"))

        def alive() -> bool:
            url = f"http://127.0.0.1:{self._port}/healthz"
            try:
                return urllib3.request("GET", url, retries=False, timeout=1).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        eventually(alive)

    def trigger(self) -> subprocess.Popen[bytes]:
        """Start a trigger."""
        target = f"http://127.0.0.1:{self._port}/"
        pid = str(self.record.with_suffix(".trigger"))
        command = [sys.executable, "-c", TRIGGER, target, pid, str(self.functions), self.name]
        return self._stack.enter_context(
            _running(command, self.environ(), self.folder / "trigger.log")
        )

    def publish(self, *events: AccessLogged) -> list[AccessLogged]:
        self.producer.publish(events, "/test")
        return list(events)

    def recorded(self) -> list[tuple[str, str]]:
        """Study and event id of what the function has done, in its order."""
        lines = self.record.read_text().splitlines()
        return [(study, event) for study, event in map(str.split, lines)]

    def lag(self) -> int:
        return bus.function_lag(self.broker.settings, {self.name: [self.topic]})[self.name][
            self.topic
        ]

    def await_no_lag(self) -> None:
        eventually(lambda: self.lag() == 0)

    def dead_letters(self) -> list[Message]:
        settings = self.broker.settings
        return list(bus.read(settings, bus.extents(settings, {f"{self.topic}.dlq"})))


@contextmanager
def _running(
    command: list[str], environ: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "ab") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def bench(empty_kafka: KafkaBroker, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(empty_kafka, tmp_path, stack)


def by_study(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for study, event in pairs:
        found.setdefault(study, []).append(event)
    return found


def expected(events: list[AccessLogged]) -> dict[str, list[str]]:
    return by_study([(one.study_instance_uid, one.id) for one in events])


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
            bench.broker.evict_members(bus.group_id("record_access"))
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
    bench.trigger()
    metadata: Callable[[], bool] = lambda: (  # noqa: E731
        '"trigger started"' in (bench.folder / "trigger.log").read_text()
    )
    eventually(metadata)
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
