"""``pacsless dlq`` against a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pacsless import bus
from pacsless.bus import Message, Partition, Producer
from pacsless.cli import main
from pacsless.codec import to_record
from pacsless.dead_letters import Outcome, Selection, buried, settle
from pacsless.errors import Busy
from pacsless.events import (
    SETTLED_TOPIC,
    TOPICS,
    Event,
    InstanceStored,
    SeriesRevised,
    dead_letter_topic,
)
from tests.events import EXAMPLES
from tests.ports import free_ports
from tests.services import REPOSITORY, KafkaBroker

pytestmark = pytest.mark.kafka

STORED, REVISED = EXAMPLES[InstanceStored.TYPE], EXAMPLES[SeriesRevised.TYPE]


class Desk:
    """Where dead letters come in and an operator looks at them."""

    def __init__(self, broker: KafkaBroker) -> None:
        self.broker, self.settings = broker, broker.settings
        self.producer = Producer(broker.settings, "test")

    def bury(self, *events: Event, code: str = "no-such-file", function: str = "extract_tags",
             foreign: tuple[tuple[str, bytes], ...] = ()) -> None:  # fmt: skip
        """Give events up."""
        messages = []
        for number, event in enumerate(events):
            record = to_record(event, "/test")
            headers = (*record.headers, *foreign)
            at = Partition(record.topic, 0)
            messages.append(Message(at, number, 0.0, record.key, record.value, headers))
        self.bury_messages(*messages, code=code, function=function)

    def bury_messages(self, *messages: Message, code: str, function: str = "extract_tags") -> None:
        time = "2026-11-28T08:00:00.000000Z"
        self.producer.copy_all(
            (replace(one, headers=(*one.headers, *buried(one, code, 3, function, time))),
             dead_letter_topic(one.partition.topic))
            for one in messages
        )  # fmt: skip

    def run(self, *arguments: str, answer: str | None = None) -> Result:
        """Run ``pacsless dlq``."""
        environ = {"PACSLESS_KAFKA": ",".join(self.settings.kafka)}
        return CliRunner().invoke(main, ["dlq", *arguments], input=answer, env=environ)

    def ask(self, *arguments: str) -> Any:
        """Run it for a program."""
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def events(self, topic: str) -> list[Message]:
        """What is in a topic."""
        return list(bus.read(self.settings, bus.extents(self.settings, {topic})))

    def lying(self) -> Counter[str]:
        """How many records the topics of dead letters hold, those settled among them."""
        found: Counter[str] = Counter()
        topics = set(map(dead_letter_topic, TOPICS))
        for partition, offsets in bus.extents(self.settings, topics).items():
            found[partition.topic] += len(offsets)
        return +found

    def counts(self) -> Counter[str]:
        """Dead letters of each topic, as ``pacsless status`` counts them."""
        return +Counter(bus.dead_letter_counts(self.settings))


@pytest.fixture
def desk(empty_kafka: KafkaBroker) -> Iterator[Desk]:
    desk = Desk(empty_kafka)
    yield desk
    desk.producer.close()


def stored(number: int, tenant: str = "default") -> Event:
    return replace(STORED, tenant_id=tenant, sop_instance_uid=f"1.2.3.4.{number}")  # type: ignore[call-arg]


def uids(messages: list[Message]) -> list[str]:
    return [json.loads(one.value or b"")["SopInstanceUID"].split(".")[-1] for one in messages]


def test_filters_choose_and_together_choose_less(desk: Desk) -> None:
    desk.bury(*(stored(number) for number in range(3)))
    desk.bury(stored(3, "default2"), stored(4, "default2"), code="truncated")
    desk.bury(REVISED, code="schema", function="load_doris")
    desk.bury(REVISED, code="schema", function="build_metadata")
    rows = desk.ask("list")["dead_letters"]
    assert [(one["topic"], one["function"], one["code"], one["count"]) for one in rows] == [
        ("dicom_state_queue", "build_metadata", "schema", 1),
        ("dicom_state_queue", "load_doris", "schema", 1),
        ("storage_queue", "extract_tags", "no-such-file", 3),
        ("storage_queue", "extract_tags", "truncated", 2),
    ]
    expected = {
        (): 7,
        ("--topic", "storage_queue"): 5,
        ("--topic", "storage_queue", "--topic", "dicom_state_queue"): 7,
        ("--code", "schema", "--function", "load_doris"): 1,
        ("--tenant", "default"): 5,
        ("--tenant", "default", "--topic", "storage_queue"): 3,
        ("--tenant", "default2"): 2,
        ("--tenant", "defaul"): 0,
        ("--since", "1h"): 7,
        ("--until", "1h"): 0,
        ("storage_queue:0:3", "storage_queue.dlq:0:0", "--code", "truncated"): 1,
    }
    assert {one: desk.ask("list", *one)["count"] for one in expected} == expected
    lines = desk.ask("list", "--each", "--tenant", "default2")["dead_letters"]
    assert {(one["letter"], one["tenant"], one["attempts"]) for one in lines} == {
        ("storage_queue.dlq:0:3", "default2", 3),
        ("storage_queue.dlq:0:4", "default2", 3),
    }
    told = desk.run("list").stdout
    assert "no-such-file" in told and told.count("\n") == 5
    assert desk.run("list", "--tenant", "nobody").stdout == "No such dead letter waits.\n"


def test_redriven_events_are_as_they_were_and_are_sent_once(desk: Desk) -> None:
    desk.bury(*(stored(number) for number in range(250)), stored(450, "other"))
    assert desk.ask("redrive", "--tenant", "default", "--dry-run")["count"] == 250
    assert desk.events("storage_queue") == []
    assert desk.ask("redrive", "--tenant", "default")["count"] == 250
    sent = desk.events("storage_queue")
    assert uids(sent) == [str(number) for number in range(250)]
    record = to_record(stored(0), "/test")
    assert (sent[0].key, sent[0].value) == (record.key, record.value)
    assert [name for name, _ in sent[0].headers] == [name for name, _ in record.headers]
    assert desk.counts() == {"storage_queue": 1}
    assert desk.lying() == {"storage_queue.dlq": 1}, "what is settled is deleted"
    again = desk.run("redrive", "--tenant", "default")
    assert (again.exit_code, again.stdout) == (0, "No such dead letter waits.\n")
    assert len(desk.events("storage_queue")) == 250


def test_what_waits_in_front_keeps_what_is_settled_but_out_of_sight(desk: Desk) -> None:
    desk.bury(stored(0), code="truncated")
    desk.bury(*(stored(number) for number in range(1, 4)))
    assert desk.ask("redrive", "--code", "no-such-file")["count"] == 3
    assert desk.lying() == {"storage_queue.dlq": 4}
    assert desk.counts() == {"storage_queue": 1}
    assert desk.ask("list")["count"] == desk.ask("list", "--each")["count"] == 1
    assert desk.run("show", "storage_queue:0:2").exit_code == 1
    desk.bury(stored(4))
    assert desk.counts() == {"storage_queue": 2}
    assert desk.ask("redrive", "storage_queue:0:2")["count"] == 0
    assert desk.ask("redrive", "--all")["count"] == 2
    assert uids(desk.events("storage_queue")) == ["1", "2", "3", "0", "4"]
    assert not desk.lying() and not desk.counts()


def test_the_log_remembers_what_lies_there_and_what_went_a_moment_ago(desk: Desk) -> None:
    desk.bury(stored(0), stored(1))
    desk.ask("drop", "storage_queue:0:1", "--yes")
    bus.trim(desk.settings, grace_seconds=0)
    assert len(desk.events(SETTLED_TOPIC)) == desk.counts()["storage_queue"] == 1
    desk.ask("drop", "--all", "--yes")
    assert len(desk.events(SETTLED_TOPIC)) == 2
    bus.trim(desk.settings, grace_seconds=0)
    assert desk.events(SETTLED_TOPIC) == []


def test_letters_of_a_topic_that_was_made_anew_are_others(desk: Desk) -> None:
    desk.bury(stored(0))
    desk.ask("drop", "--all", "--yes")
    desk.broker.renew_topics(["storage_queue.dlq"])
    desk.bury(stored(1))
    assert (desk.counts()["storage_queue"], desk.ask("list")["count"]) == (1, 1)
    assert desk.ask("redrive", "--all")["count"] == 1
    assert uids(desk.events("storage_queue")) == ["1"]


def test_two_at_once_send_each_event_once(desk: Desk) -> None:
    desk.bury(*(stored(number) for number in range(250)))
    there, done = bus.waiting(desk.settings), Counter[int]()

    def redrive(number: int) -> None:
        def settled(some: list[Any], read: int) -> None:
            done[number] += len(some)

        settle(desk.settings, Selection(), Outcome.REDRIVEN, there, settled)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(redrive, range(3)))
    assert done.total() == len(desk.events("storage_queue")) == 250
    assert not desk.lying()


def test_one_that_waits_in_vain_says_so(desk: Desk) -> None:
    desk.bury(stored(0))
    there = bus.waiting(desk.settings)
    with bus.Lease(desk.settings, "pacsless-dlq", SETTLED_TOPIC, 60) as lease:
        with pytest.raises(Busy):
            settle(desk.settings, Selection(), Outcome.DROPPED, there, print, patience=0.5)
        lease.keep()
    assert desk.counts() == {"storage_queue": 1}


KILLED = """
import os, signal
from pacsless.bus import Producer
from pacsless.cli import main
Producer.send_records = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(["dlq", "redrive", "--all"])
"""


def test_killed_between_sending_and_saying_so_loses_and_multiplies_nothing(desk: Desk) -> None:
    desk.bury(*(stored(number) for number in range(3)))
    environ = {**os.environ, "PACSLESS_KAFKA": ",".join(desk.settings.kafka)}
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=REPOSITORY, env=environ, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert uids(desk.events("storage_queue")) == ["0", "1", "2"]
    assert desk.counts() == {"storage_queue": 3}, "nothing says that they are settled"
    desk.broker.evict_members("pacsless-dlq")
    assert desk.ask("redrive", "--all")["count"] == 3
    assert uids(desk.events("storage_queue")) == ["0", "1", "2"] * 2, "a repeat changes nothing"
    assert not desk.lying() and not desk.counts()


def test_drop_asks_and_touches_only_what_it_showed(desk: Desk) -> None:
    desk.bury(*(stored(number) for number in range(2)))
    refused = desk.run("drop", "--code", "no-such-file", answer="n\n")
    assert refused.exit_code == 1
    assert "Drop 2 dead letters for good?" in refused.stderr
    assert desk.run("drop", "--all", answer="").exit_code == 1
    assert desk.counts() == {"storage_queue": 2}
    done = desk.run("drop", "--code", "no-such-file", answer="y\n")
    assert done.exit_code == 0 and done.stdout.endswith("2 dead letters dropped.\n")
    there = bus.waiting(desk.settings)
    desk.bury(stored(2))
    settle(desk.settings, Selection(), Outcome.DROPPED, there, lambda *_: None)
    assert desk.counts() == {"storage_queue": 1}, "it came after the question"
    assert desk.ask("drop", "--all", "--yes")["outcome"] == "dropped"
    assert desk.events("storage_queue") == []
    assert not desk.lying() and not desk.counts()


def test_nothing_of_a_patient_is_shown_unless_it_is_asked_for(desk: Desk) -> None:
    desk.bury(replace(STORED, patient_id="CANARY^ID"), foreign=(("patient", b"CANARY^H"),))  # type: ignore[call-arg]
    headers = tuple((f"ce_{one}", b"CANARY^CE") for one in ("id", "type", "subject", "source"))
    foreign = Message(
        Partition("storage_queue", 1), 7, 0.0, b"CANARY^KEY", b"CANARY^VALUE", headers
    )
    nothing = replace(foreign, key=None, value=b"", headers=())
    desk.bury_messages(foreign, nothing, code="not-a-cloudevent")
    for arguments in (
        ["list"], ["list", "--each"], ["show", "storage_queue:0:0"], ["show", "storage_queue:0:1"],
        ["redrive", "--all", "--dry-run"], ["drop", "--all", "--dry-run"],
        ["list", "--json"], ["list", "--each", "--json"], ["show", "storage_queue:0:1", "--json"],
    ):  # fmt: skip
        done = desk.run(*arguments)
        assert done.exit_code == 0 and "extract_tags" in done.output
        assert "CANARY" not in done.output, arguments
    told = desk.run("show", "storage_queue:0:0", "--with-data").stdout
    assert "CANARY^ID" in told and "CANARY^H" in told
    assert json.loads(desk.run("show", "storage_queue:0:1", "--with-data", "--json").stdout)[
        "key"
    ] == "CANARY^KEY"  # fmt: skip
    done = desk.run("redrive", "--all")
    assert done.exit_code == 0 and "CANARY" not in done.output
    sent = {one.key: one for one in desk.events("storage_queue")}
    assert sent[b"CANARY^KEY"].headers == headers
    assert (sent[None].value, sent[None].headers) == (b"", ())


def test_what_cannot_be_meant_is_said(desk: Desk) -> None:
    for arguments, code, wanted in (
        (["redrive"], 2, "--all"),
        (["redrive", "--all", "--code", "schema"], 2, "--all"),
        (["drop", "--all", "--json"], 2, "--yes"),
        (["list", "--topic", "no_queue"], 2, "storage_queue"),
        (["list", "storage_queue"], 2, "TOPIC:PARTITION:OFFSET"),
        (["list", "--since", "soon"], 2, "90m"),
        (["show", "storage_queue:0:99"], 1, "storage_queue.dlq:0:99 waits no more"),
        (["show", "storage_queue:7:0"], 1, "storage_queue.dlq:7:0 waits no more"),
    ):
        done = desk.run(*arguments)
        assert (done.exit_code, wanted in done.stderr) == (code, True), done.output
    assert desk.run("redrive", "--all").stdout == "No such dead letter waits.\n"


def test_without_a_broker_it_says_where_it_looked() -> None:
    (port,) = free_ports(1)
    done = CliRunner().invoke(main, ["dlq", "list"], env={"PACSLESS_KAFKA": f"127.0.0.1:{port}"})
    assert done.exit_code == 1
    assert done.stderr.startswith("pacsless: ") and f"127.0.0.1:{port}" in done.stderr
