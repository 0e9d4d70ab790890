"""What is acknowledged is kept and told to Kafka: with the broker up, down, and after kill -9."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless.codec import decode_http, time_at
from pacsless.events import Event, InstanceReceived, InstanceStored
from pacsless.outbox import outbox_depth
from pacsless.send import FileResult, send_paths
from tests.eventually import eventually
from tests.gateway import GatewayProcess, data_set, sha256
from tests.instances import encode, make_dataset
from tests.services import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
def gateway(empty_kafka: KafkaBroker, tmp_path: Path) -> Iterator[GatewayProcess]:
    one = GatewayProcess(tmp_path, kafka=empty_kafka.servers[0])
    one.start()
    yield one
    one.close()


def files(folder: Path, count: int, study: str = "1.2.3") -> list[Path]:
    folder.mkdir(exist_ok=True)
    found = []
    for number in range(count):
        path = folder / f"{number}.dcm"
        path.write_bytes(encode(make_dataset(bytes(2000), StudyInstanceUID=study)))
        found.append(path)
    return found


def events(kafka: KafkaBroker, kind: type[Event]) -> list[Event]:
    """Every event of a topic, decoded as a function would."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=list(kafka.servers), enable_auto_commit=False)
    try:
        partitions = [
            TopicPartition(kind.TOPIC, one) for one in consumer.partitions_for_topic(kind.TOPIC)
        ]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Event] = []
        while any(consumer.position(one) < ends[one] for one in partitions):
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    headers = {
                        name.replace("ce_", "ce-"): value.decode() for name, value in record.headers
                    }
                    (delivered,) = decode_http(headers, record.value)
                    assert record.key == delivered.event.partition_key.encode()
                    found.append(delivered.event)
        return found
    finally:
        consumer.close()


def test_what_is_stored_is_told(
    gateway: GatewayProcess, empty_kafka: KafkaBroker, tmp_path: Path
) -> None:
    summary = send_paths(files(tmp_path / "study", 30), gateway.options(jobs=3))
    assert summary.statuses == {0: 30}
    eventually(lambda: gateway.metric("outbox_depth") == 0)
    stored = events(empty_kafka, InstanceStored)
    kept = gateway.stored()
    assert {(one.file_path, one.sha256) for one in stored} == {  # type: ignore[attr-defined]
        (key, sha256(content)) for key, content in kept.items()
    }
    for one in stored:
        assert isinstance(one, InstanceStored)
        modified = (gateway.archive / one.file_path).stat().st_mtime_ns
        assert time_at(modified) == one.received_at, "a rebuild finds it there"
        assert modified % 1000 == 0, "no time in between that could be rounded up"
    assert len(stored) == len(events(empty_kafka, InstanceReceived)) == 30
    assert gateway.stop() == 0
    assert outbox_depth(gateway.spool).entries == 0


def test_the_broker_may_be_away(
    gateway: GatewayProcess, empty_kafka: KafkaBroker, tmp_path: Path
) -> None:
    assert send_paths(files(tmp_path / "before", 5), gateway.options()).statuses == {0: 5}
    empty_kafka.stop()
    try:
        assert send_paths(files(tmp_path / "while", 40), gateway.options()).statuses == {0: 40}
        assert gateway.metric("outbox_depth") >= 80
        assert gateway.get("/readyz")[0] == 200
    finally:
        empty_kafka.start()
    assert send_paths(files(tmp_path / "after", 5), gateway.options()).statuses == {0: 5}
    eventually(lambda: gateway.metric("outbox_depth") == 0, within=120)
    told = {one.id for one in events(empty_kafka, InstanceStored)}
    assert len(told) == len(gateway.stored()) == 50


def test_a_kept_promise_survives_a_restart_without_the_broker(
    empty_kafka: KafkaBroker, tmp_path: Path
) -> None:
    away = GatewayProcess(tmp_path)
    away.start()
    assert send_paths(files(tmp_path / "study", 10), away.options()).statuses == {0: 10}
    assert away.stop() == 0
    assert outbox_depth(away.spool).entries == 20
    back = GatewayProcess(tmp_path, kafka=empty_kafka.servers[0])
    back.start()
    try:
        eventually(lambda: back.metric("outbox_depth") == 0, within=120)
    finally:
        back.close()
    assert len(events(empty_kafka, InstanceStored)) == 10


def test_nothing_acknowledged_is_lost_to_kill_9(
    gateway: GatewayProcess, empty_kafka: KafkaBroker, tmp_path: Path
) -> None:
    paths = files(tmp_path / "study", 400)
    moments = random.Random(20261123)
    acknowledged: dict[Path, FileResult] = {}
    for _ in range(5):
        left = [path for path in paths if path not in acknowledged]
        some = left[: len(left) // 2 + 1]
        progressed = threading.Event()
        enough = moments.randint(5, max(6, len(some) // 2))

        def progress(done: int, _: int, enough: int = enough, event: threading.Event = progressed
                     ) -> None:  # fmt: skip
            if done >= enough:
                event.set()

        found: list[FileResult] = []
        sender = threading.Thread(
            target=lambda some=some, found=found, progress=progress: found.extend(
                send_paths(some, gateway.options(jobs=4), progress).files
            )
        )
        sender.start()
        progressed.wait(60)
        time.sleep(moments.random() * 0.01)
        gateway.kill()
        sender.join(60)
        acknowledged |= {one.file.path: one for one in found if one.status == 0}
        gateway.start()
        kept = gateway.stored()
        for path, result in acknowledged.items():
            file = result.file
            key = (
                f"default/{file.study_instance_uid}/{file.series_instance_uid}/"
                f"{file.sop_instance_uid}.dcm"
            )
            assert data_set(kept[key]) == data_set(path.read_bytes())
    assert acknowledged
    eventually(lambda: gateway.metric("outbox_depth") == 0, within=120)
    told = Counter(one.file_path for one in events(empty_kafka, InstanceStored))  # type: ignore[attr-defined]
    kept = gateway.stored()
    assert set(told) == set(kept), "every file is told, and nothing that is no file"
    assert len(kept) >= len(acknowledged)
    # What was not acknowledged may be sent again, and all is well then.
    assert send_paths(paths, gateway.options()).statuses == {0: len(paths)}
    assert len(gateway.stored()) == len(paths)
