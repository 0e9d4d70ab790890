"""Our Kafka clients against a real broker."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pacsless import bus
from pacsless.bus import Consumer, Message, Partition, Position, Producer
from pacsless.bus.topics import delete_before
from pacsless.codec import to_record
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import EVENTS, TOPICS, InstanceIndexed, InstanceStored
from pacsless.settings import Settings
from tests.events import EXAMPLES
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import KafkaBroker

pytestmark = pytest.mark.kafka

STORED = EXAMPLES[InstanceStored.TYPE]


@pytest.fixture
def producer(empty_kafka: KafkaBroker) -> Iterator[Producer]:
    producer = Producer(empty_kafka.settings, "test")
    yield producer
    producer.close()


class Member:
    """A consumer, and what it was told of its partitions."""

    def __init__(self, broker: KafkaBroker, group: str, *topics: str) -> None:
        self.consumer = Consumer(broker.settings, group, "test")
        self.held: set[Partition] = set()
        self.last: dict[Partition, Position] = {}
        self.messages: list[Message] = []
        self.consumer.subscribe(topics, self._assigned, self._revoked, self._lost)

    def _assigned(self, partitions: frozenset[Partition]) -> None:
        self.held |= partitions

    def _revoked(self, partitions: frozenset[Partition]) -> dict[Partition, Position]:
        self.held -= partitions
        return {one: self.last[one] for one in partitions if one in self.last}

    def _lost(self, partitions: frozenset[Partition]) -> None:
        self.held -= partitions

    def poll(self) -> list[Message]:
        self.messages += self.consumer.poll(0.1)
        return self.messages


def test_there_is_every_topic_and_its_dead_letters(kafka: KafkaBroker) -> None:
    assert bus.create_topics(kafka.settings) == []
    assert bus.dead_letter_counts(kafka.settings).keys() == set(TOPICS)


def test_an_event_arrives_as_its_record_says(empty_kafka: KafkaBroker, producer: Producer) -> None:
    producer.publish(EXAMPLES.values(), "/test")
    member = Member(empty_kafka, "pacsless-reader", *TOPICS)
    eventually(lambda: len(member.poll()) == len(EVENTS))
    for message in member.messages:
        kind = dict(message.headers)["ce_type"].decode()
        told = {name: value for name, value in message.headers if name != "ce_time"}
        record = to_record(EXAMPLES[kind], "/test")
        assert (message.partition.topic, message.key, message.value) == (
            record.topic, record.key, record.value,
        )  # fmt: skip
        assert told == {name: value for name, value in record.headers if name != "ce_time"}
    member.consumer.close()


def test_a_large_event_arrives_and_one_too_large_is_unprocessable(
    empty_kafka: KafkaBroker, producer: Producer
) -> None:
    indexed = EXAMPLES[InstanceIndexed.TYPE]
    assert isinstance(indexed, InstanceIndexed)
    # Random text, as compression would make any other small.
    text = random.Random(1).randbytes(3 << 20).hex()
    large = replace(indexed, dicom_json={"00081030": {"vr": "LO", "Value": [text]}})
    producer.publish([large], "/test")
    member = Member(empty_kafka, "pacsless-reader", indexed.TOPIC)
    eventually(member.poll)
    assert member.messages[0].value == to_record(large, "/test").value
    member.consumer.close()
    larger = replace(large, dicom_json={"00081030": {"vr": "LO", "Value": [text * 4]}})
    with pytest.raises(Unprocessable) as caught:
        producer.publish([larger], "/test")
    assert caught.value.code == "event-too-large"


def test_what_the_broker_refuses_costs_no_later_event(
    empty_kafka: KafkaBroker, producer: Producer
) -> None:
    indexed = EXAMPLES[InstanceIndexed.TYPE]
    assert isinstance(indexed, InstanceIndexed)
    # As where an administrator has made the topic, with Kafka's own limit.
    empty_kafka.configure(indexed.TOPIC, {"max.message.bytes": str(1 << 20)})
    text = random.Random(1).randbytes(2 << 20).hex()
    large = replace(indexed, dicom_json={"00081030": {"vr": "LO", "Value": [text]}})

    def refused() -> bool:
        try:
            producer.publish([large], "/test")
        except Unavailable as error:
            return "max.message.bytes" in error.message
        return False

    for _ in range(2):
        eventually(refused)
        producer.publish([STORED], "/test")
    member = Member(empty_kafka, "pacsless-reader", STORED.TOPIC)
    eventually(lambda: len(member.poll()) == 2)
    member.consumer.close()


def test_lag_counts_what_is_not_committed(empty_kafka: KafkaBroker, producer: Producer) -> None:
    subscriptions = {"extract_tags": ["storage_queue"]}
    assert bus.function_lag(empty_kafka.settings, subscriptions) == {
        "extract_tags": {"storage_queue": 0}
    }
    producer.publish([STORED] * 5, "/test")
    assert bus.function_lag(empty_kafka.settings, subscriptions) == {
        "extract_tags": {"storage_queue": 5}
    }
    member = Member(empty_kafka, bus.group_id("extract_tags"), "storage_queue")
    eventually(lambda: len(member.poll()) == 5)
    partition = member.messages[0].partition
    member.consumer.commit({partition: Position(3, "attempts=1;upto=4")})
    assert bus.function_lag(empty_kafka.settings, subscriptions) == {
        "extract_tags": {"storage_queue": 2}
    }
    assert member.consumer.extents([partition]) == {partition: range(5)}
    delete_before(empty_kafka.settings, {partition: 4})
    eventually(lambda: member.consumer.extents([partition]) == {partition: range(4, 5)})
    assert bus.function_lag(empty_kafka.settings, subscriptions) == {
        "extract_tags": {"storage_queue": 1}
    }
    member.consumer.close()
    again = Consumer(empty_kafka.settings, bus.group_id("extract_tags"), "test")
    assert again.committed(partition) == Position(3, "attempts=1;upto=4")
    assert again.committed(Partition("log_queue", 0)) is None
    again.close()


def test_a_partition_that_goes_is_committed_before_its_next_owner_reads_it(
    empty_kafka: KafkaBroker, producer: Producer
) -> None:
    first = Member(empty_kafka, "pacsless-pair", "storage_queue")
    eventually(lambda: first.poll() or len(first.held) == 4)
    first.last = {one: Position(7 + one.number, "last words") for one in first.held}
    second = Member(empty_kafka, "pacsless-pair", "storage_queue")

    def settled() -> bool:
        first.poll()
        second.poll()
        return len(first.held) == len(second.held) == 2

    eventually(settled)
    assert not first.held & second.held
    for one in second.held:
        assert second.consumer.committed(one) == first.last[one]
    second.consumer.close()
    first.consumer.close()


def test_a_join_that_ends_between_two_polls_is_not_asked_again(
    empty_kafka: KafkaBroker, producer: Producer
) -> None:
    # The leader: its asking again would make everybody join again.
    first = Member(empty_kafka, "pacsless-unheard", "storage_queue")
    eventually(lambda: first.poll() or len(first.held) == 4)
    second = Member(empty_kafka, "pacsless-unheard", "storage_queue")
    coordinator = first.consumer._client._coordinator

    def joins() -> bool:
        second.poll()
        first.consumer.poll(0.01)
        return coordinator._join_task is not None

    eventually(joins)
    eventually(lambda: second.poll() or coordinator._join_task.is_done)
    generation = first.consumer._client.group_metadata().generation_id
    eventually(lambda: first.poll() or len(first.held) == 2)
    assert first.consumer._client.group_metadata().generation_id == generation
    second.consumer.close()
    first.consumer.close()


def test_what_is_paused_is_not_read_and_nothing_of_it_is_lost(
    empty_kafka: KafkaBroker, producer: Producer
) -> None:
    member = Member(empty_kafka, "pacsless-pause", "storage_queue")
    eventually(lambda: member.poll() or len(member.held) == 4)
    producer.publish([STORED] * 50, "/test")
    eventually(lambda: len(member.poll()) > 0)
    (partition,) = {one.partition for one in member.messages}
    member.consumer.pause([partition])
    seen = len(member.poll())
    producer.publish([STORED] * 50, "/test")
    others = [
        replace(STORED, study_instance_uid=f"1.2.{number}")  # type: ignore[call-arg]
        for number in range(50)
    ]
    producer.publish(others, "/test")
    eventually(lambda: any(one.partition != partition for one in member.poll()))
    assert sum(one.partition == partition for one in member.messages) == seen
    member.consumer.resume([partition])
    eventually(lambda: len(member.poll()) == 150)
    offsets = [one.offset for one in member.messages if one.partition == partition]
    assert offsets == list(range(len(offsets)))
    member.consumer.close()


def test_a_record_sent_without_waiting_reports_its_end(producer: Producer) -> None:
    ended: list[BaseException | None] = []
    done = threading.Semaphore(0)

    def on_done(error: BaseException | None) -> None:
        ended.append(error)
        done.release()

    for _ in range(100):
        producer.send_record(to_record(STORED, "/test"), on_done)
    producer.flush()
    for _ in range(100):
        assert done.acquire(timeout=30)
    assert ended == [None] * 100


def test_without_a_broker_everything_is_unavailable() -> None:
    (port,) = free_ports(1)
    settings = Settings(kafka=(f"127.0.0.1:{port}",))
    producer = Producer(settings, "test")
    for attempt in (
        lambda: producer.publish([STORED], "/test"),
        lambda: producer.send_record(to_record(STORED, "/test"), lambda _: None),
        lambda: Consumer(settings, "pacsless-none", "test"),
        lambda: bus.function_lag(settings, {"extract_tags": ["storage_queue"]}),
    ):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert caught.value.code == "broker"


def test_what_was_sent_while_the_broker_was_away_arrives_once(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path)
    broker.start(partitions=1)
    producer = Producer(broker.settings, "test")
    try:
        producer.publish([STORED], "/test")
        broker.stop()
        ended: list[BaseException | None] = []
        producer.send_record(to_record(STORED, "/test"), ended.append)
        broker.start()
        eventually(lambda: len(ended) == 1)
        assert ended == [None]
        member = Member(broker, "pacsless-reader", "storage_queue")
        eventually(lambda: len(member.poll()) >= 2)
        assert [one.offset for one in member.messages] == [0, 1]
        member.consumer.close()
    finally:
        producer.close()
        broker.stop()


def test_a_connection_that_is_given_up_ends(kafka: KafkaBroker) -> None:
    producer = Producer(kafka.settings, "test")
    before = set(threading.enumerate())
    producer.publish([STORED], "/test")
    ended: list[BaseException | None] = []
    with kafka.frozen():
        producer.send_record(to_record(STORED, "/test"), ended.append)
        producer.reset()
        eventually(lambda: not set(threading.enumerate()) - before, within=20)
    assert len(ended) == 1 and ended[0] is not None, "its records are given back"
