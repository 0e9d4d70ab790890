"""From the outbox to a real broker that goes away for longer than a record may wait."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scp_gateway.relay import Relay

from pacsless.archive import Sealed
from pacsless.bus import Consumer, Producer
from pacsless.codec import to_record
from pacsless.errors import Unavailable
from pacsless.outbox import Backlog, Outbox
from tests.events import EXAMPLES
from tests.eventually import eventually

if TYPE_CHECKING:
    from pacsless.events import InstanceStored
    from tests.services import KafkaBroker

pytestmark = pytest.mark.kafka

# The least kafka-python takes beside a request's 15 s.
DELIVERY_SECONDS = 16.0


def stored(number: int) -> InstanceStored:
    example = EXAMPLES["org.pacsless.instance.stored.v1"]
    return replace(example, sop_instance_uid=f"1.2.{number}")  # type: ignore[call-arg, return-value]


def test_what_waited_longer_than_the_delivery_timeout_arrives(
    empty_kafka: KafkaBroker, tmp_path: Path
) -> None:
    producer = Producer(empty_kafka.settings, "test", DELIVERY_SECONDS)
    backlog = Backlog(lambda: [tmp_path])
    outbox = Outbox(tmp_path, backlog.wake)
    relay = Relay(backlog, producer, patience=DELIVERY_SECONDS + 4)
    relay.start()
    events = [stored(number) for number in range(1500)]
    outbox.note([to_record(events[0], "/test")])
    eventually(lambda: relay.is_connected)
    empty_kafka.stop()
    stopped = time.monotonic()
    for event in events[1:]:
        outbox.note([to_record(event, "/test")])
    # Until the first records have outlived their timeout, and what was sent after them too.
    eventually(lambda: not relay.is_connected)
    eventually(lambda: time.monotonic() - stopped > DELIVERY_SECONDS + 6)
    assert backlog.depth.entries >= 1499
    empty_kafka.start()
    eventually(lambda: backlog.depth.entries == 0, within=120)
    relay.stop(5)
    producer.close()
    outbox.close()

    consumer = Consumer(empty_kafka.settings, "pacsless-test-relay", "test")
    seen: set[str] = set()

    def all_there() -> bool:
        seen.update(dict(one.headers)["ce_id"].decode() for one in consumer.poll(0.5))
        return len(seen) == len(events)

    consumer.subscribe(["storage_queue"], lambda _: None, lambda _: {}, lambda _: None)
    eventually(all_there)
    consumer.close()
    assert seen == {event.id for event in events}


def test_an_entry_of_nothing_holds_up_nothing(empty_kafka: KafkaBroker, tmp_path: Path) -> None:
    producer = Producer(empty_kafka.settings, "test", DELIVERY_SECONDS)
    backlog = Backlog(lambda: [tmp_path])
    outbox = Outbox(tmp_path, backlog.wake)
    relay = Relay(backlog, producer)
    outbox.kept(outbox.intend(Sealed("", 1, "ab" * 32), "default/1/2/3.dcm", []))
    outbox.note([to_record(stored(0), "/test")])
    relay.start()
    eventually(lambda: backlog.depth.entries == 0)
    relay.stop(5)
    producer.close()
    outbox.close()


def test_a_function_publishes_again_after_the_delivery_timeout(empty_kafka: KafkaBroker) -> None:
    producer = Producer(empty_kafka.settings, "test", DELIVERY_SECONDS)
    producer.publish([stored(0)], "/test")
    empty_kafka.stop()
    with pytest.raises(Unavailable):
        producer.publish([stored(number) for number in range(500)], "/test")
    empty_kafka.start()

    def published() -> bool:
        try:
            producer.publish([stored(number) for number in range(500)], "/test")
        except Unavailable:
            return False
        return True

    eventually(published)
    producer.close()
