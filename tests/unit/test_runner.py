"""The trigger's loop, with a function whose worker dies of one event."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from prometheus_client import REGISTRY

from pacsless.bus import Consumer, Message, Partition, Position
from pacsless.functions import FunctionSpec
from pacsless.policy import Policies, ScalePolicy, TriggerPolicy
from pacsless.trigger.actions import Bury, Fate, Item
from pacsless.trigger.dead_letters import DeadLetters
from pacsless.trigger.dispatch import Outcome
from pacsless.trigger.runner import Runner

HEADERS = tuple((f"ce_{name}", b"1") for name in ("id", "type", "source", "specversion"))
POISON, *INNOCENT = (Partition("queue", number) for number in range(4))


class OneEventEach:
    """A consumer of partitions that hold one event each."""

    def __init__(self) -> None:
        self.unread = [Message(one, 0, 0.0, b"k", b"{}", HEADERS) for one in (POISON, *INNOCENT)]

    def subscribe(self, _topics: Iterable[str], assigned: Any, *_: Any) -> None:
        assigned(frozenset((POISON, *INNOCENT)))

    def poll(self, _timeout: float) -> list[Message]:
        found, self.unread = self.unread, []
        return found

    def committed(self, _partition: Partition) -> Position | None:
        return None

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, range]:
        return dict.fromkeys(partitions, range(1))

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


class OneWorker:
    """A function of one process with threads: the poison ends it, and all it is doing."""

    ready = True

    def __init__(self, stop: threading.Event) -> None:
        self.lock = threading.Lock()
        self.running: dict[int, set[Partition]] = {}
        self.done: list[Partition] = []
        self.buried: list[Partition] = []
        self.stop = stop

    def send(self, items: Sequence[Item]) -> Outcome:
        me = threading.get_ident()
        with self.lock:
            beside = {items[0].partition}
            for one in self.running.values():
                one.add(items[0].partition)
                beside |= one
            self.running[me] = beside
        time.sleep(0.1)
        with self.lock:
            if POISON in self.running.pop(me):
                return Outcome(Fate.FAILED, "worker-lost")
            return self._ended(self.done, items[0])

    def bury(self, action: Bury) -> Outcome:
        with self.lock:
            return self._ended(self.buried, action.item)

    def _ended(self, where: list[Partition], item: Item) -> Outcome:
        where.append(item.partition)
        if len(self.done) + len(self.buried) == 1 + len(INNOCENT):
            self.stop.set()
        return Outcome(Fate.DONE, "")


def fed(name: str, policy: TriggerPolicy) -> tuple[FunctionSpec, Policies]:
    policies = Policies(trigger=policy, topics={}, scale=ScalePolicy())
    spec = FunctionSpec(
        name=name, summary="", kind="event", handles=(), emits=(), reads="", writes="",
        policies=policies,
    )  # fmt: skip
    return spec, policies


def test_an_event_that_kills_its_worker_takes_no_other_to_the_dead_letters() -> None:
    policy = TriggerPolicy(max_events=1, linger_ms=0, backoff_s=0.05, concurrency=4)
    spec, policies = fed("transcode", policy)
    stop = threading.Event()
    worker = OneWorker(stop)
    runner = Runner(
        spec,
        policies,
        cast(Consumer, OneEventEach()),
        worker,
        cast(DeadLetters, worker),
    )
    runner.run(stop)
    assert worker.buried == [POISON]
    assert sorted(worker.done) == INNOCENT


class Emptied(OneEventEach):
    """A consumer of partitions whose events retention has deleted before anybody committed."""

    def __init__(self, stop: threading.Event) -> None:
        self.unread, self.stop = [], stop

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, range]:
        self.stop.set()
        return dict.fromkeys(partitions, range(7, 7))


def test_what_retention_has_deleted_is_no_lag() -> None:
    stop = threading.Event()
    worker = OneWorker(stop)
    spec, policies = fed("emptied", TriggerPolicy())
    consumer = cast(Consumer, Emptied(stop))
    clock = itertools.count(0.0, 3.0).__next__
    Runner(spec, policies, consumer, worker, cast(DeadLetters, worker), clock=clock).run(stop)
    labels = {"function": "emptied", "topic": POISON.topic}
    assert REGISTRY.get_sample_value("pacsless_trigger_lag", labels) == 0
