"""What stands for KafkaSource's dispatcher: ``python -m tests.knative.dispatcher SOURCES.json``.

It follows `rules`, for every source in the file, which holds KafkaSources and KafkaSinks as
the API server has them, and the addresses of Services. What it adds is what may happen to
any dispatcher, and here does on purpose: ``again`` of the events are delivered twice,
``shuffle`` gives the records of a poll in any order, where the order is open.

It runs in a pod, of one of the archive's images, and says on its output how many events were
delivered, tried again, buried and lost.
"""

from __future__ import annotations

import http.client
import json
import queue
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kafka import (
    ConsumerRebalanceListener,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.errors import KafkaError

from tests.knative.rules import (
    MOST_IN_A_POLL,
    Offsets,
    Source,
    as_dead_letter,
    as_request,
    share,
    sources_of,
    taken,
    tried_again,
)

_COMMIT_SECONDS = 5.0
"""``auto.commit.interval.ms``: what a crash delivers again."""


class Counts:
    """What became of events, over all sources; printed when it changes."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, source: str, what: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[f"{source} {what}"] += 1

    def report(self) -> None:
        """Print them whenever they have changed, for ever."""
        before: Counter[str] = Counter()
        while True:
            with self._lock:
                now = self._counts.copy()
            if now != before:
                print(json.dumps(now), flush=True)
                before = now
            time.sleep(0.5)


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of a source: reads, delivers, commits."""

    def __init__(self, source: Source, producer: KafkaProducer, counts: Counts) -> None:
        self._source, self._producer, self._counts = source, producer, counts
        self._offsets: dict[Any, Offsets] = {}
        self._waiting: dict[Any, deque[Any]] = {}
        """Records of a partition that are not delivered yet, where they come in order."""
        self._done: queue.Queue[tuple[Any, Offsets, int]] = queue.Queue()
        self._committed: dict[Any, int] = {}
        self._pool = ThreadPoolExecutor(2 * MOST_IN_A_POLL)
        self._random = random.Random(7)

    def run(self) -> None:
        """Do it for ever."""
        client = KafkaConsumer(
            bootstrap_servers=self._source.servers,
            group_id=self._source.group,
            enable_auto_commit=False,
            auto_offset_reset=self._source.initial,
            max_poll_records=MOST_IN_A_POLL,
            session_timeout_ms=10_000,
        )
        client.subscribe(self._source.topics, listener=self)
        committed = time.monotonic()
        while True:
            self._flow(client)
            try:
                found = client.poll(timeout_ms=100)
                for partition, records in found.items():
                    self._take(partition, records)
                self._collect()
                if time.monotonic() - committed > _COMMIT_SECONDS:
                    self._commit(client)
                    committed = time.monotonic()
            except KafkaError as error:
                print(f"{self._source.name}: {type(error).__name__}", file=sys.stderr, flush=True)
                time.sleep(0.5)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Nothing to do: offsets begin with the first record."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Forget: whoever has them next gets what is not committed once more."""
        for one in revoked:
            self._offsets.pop(one, None)
            self._waiting.pop(one, None)
            self._committed.pop(one, None)

    on_partitions_lost = on_partitions_revoked

    def _flow(self, client: KafkaConsumer) -> None:
        """Read no more of what has enough in hand; heartbeats go on."""
        assigned = client.assignment()
        if self._source.ordered:
            full = {one for one in assigned if self._waiting.get(one)}
        else:
            enough = sum(map(len, self._offsets.values())) >= MOST_IN_A_POLL
            full = set(assigned) if enough else set()
        client.pause(*full)
        client.resume(*(set(assigned) - full))

    def _take(self, partition: Any, records: list[Any]) -> None:
        offsets = self._offsets.setdefault(partition, Offsets(records[0].offset))
        for one in records:
            offsets.read(one.offset)
        if self._source.ordered:
            waiting = self._waiting.setdefault(partition, deque())
            idle = not waiting
            waiting.extend(records)
            if idle:
                self._submit(waiting[0], offsets)
            return
        twice = set(share([one.offset for one in records], self._source.again))
        chosen = records + [one for one in records if one.offset in twice]
        if self._source.shuffle:
            self._random.shuffle(chosen)
        for one in chosen:
            self._submit(one, offsets)

    def _submit(self, record: Any, offsets: Offsets) -> None:
        self._pool.submit(self._deliver, record, offsets)

    def _collect(self) -> None:
        while True:
            try:
                partition, offsets, offset = self._done.get_nowait()
            except queue.Empty:
                return
            offsets.done(offset)
            if self._offsets.get(partition) is not offsets or not self._source.ordered:
                continue  # it has gone to another consumer, or nothing waits for it
            waiting = self._waiting[partition]
            waiting.popleft()
            if waiting:
                self._submit(waiting[0], offsets)

    def _commit(self, client: KafkaConsumer) -> None:
        changed = {
            partition: offsets.position
            for partition, offsets in self._offsets.items()
            if offsets.position != self._committed.get(partition)
        }
        if changed:
            client.commit(
                {one: OffsetAndMetadata(offset, "", -1) for one, offset in changed.items()}
            )
            self._committed.update(changed)

    def _deliver(self, record: Any, offsets: Offsets) -> None:
        source, partition = self._source, TopicPartition(record.topic, record.partition)
        try:
            request = as_request(record, source.path)
            self._send(request, record.value or b"")
            if source.ordered and share([record.offset], source.again):
                self._send(request, record.value or b"")
        except Exception as error:  # noqa: BLE001
            # A defect of this program's: nothing may be taken for done.
            print(f"{source.name}: {error!r}", file=sys.stderr, flush=True)
            self._counts.add(source.name, "broken")
            return
        self._done.put((partition, offsets, record.offset))

    def _send(self, request: dict[str, str], value: bytes) -> None:
        source, failures = self._source, 0
        while True:
            status, answer = post(source.target, request, value, source.delivery.timeout)
            if taken(status):
                self._counts.add(source.name, "delivered")
                return
            failures += 1
            if (status and not tried_again(status)) or failures > source.delivery.retry:
                self._bury(request, value, status, answer)
                return
            self._counts.add(source.name, "tried again")
            time.sleep(source.delivery.pause(failures))

    def _bury(self, request: dict[str, str], value: bytes, status: int, answer: bytes) -> None:
        if not self._source.dead_letters:
            self._counts.add(self._source.name, "lost")
            return
        key, headers = as_dead_letter(request, self._source.target, status, answer)
        try:
            self._producer.send(
                self._source.dead_letters, value=value, key=key, headers=headers
            ).get(timeout=30)
        except KafkaError:
            # Its offset is committed all the same.
            self._counts.add(self._source.name, "lost")
        else:
            self._counts.add(self._source.name, "buried")


def post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> tuple[int, bytes]:
    """Status and body of the answer; 0 if there is none."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port or 80, timeout=timeout
    )
    try:
        connection.request("POST", address.path or "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def main() -> None:
    """Run every source's consumers."""
    sources, counts = sources_of(json.loads(Path(sys.argv[1]).read_text())), Counts()
    producer = KafkaProducer(bootstrap_servers=sources[0].servers, acks="all")
    for source in sources:
        for _ in range(source.consumers):
            run = Consumer(source, producer, counts).run
            threading.Thread(target=run, daemon=True, name=source.name).start()
    counts.report()


if __name__ == "__main__":
    main()
