"""The loop between Kafka and a function: read, hand out, commit.

One thread owns the consumer and the lanes. Requests run in a pool; their
outcomes come back through a queue. What is committed is always what `Lane`
says, and always before the batch it speaks of is sent.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pacsless.bus import Consumer, Message, Partition, Position
from pacsless.errors import Unavailable
from pacsless.functions import FunctionSpec
from pacsless.policy import Policies
from pacsless.trigger.actions import Bury, Dispatch, Fate
from pacsless.trigger.dead_letters import DeadLetters
from pacsless.trigger.dispatch import Outcome, Target, item_of
from pacsless.trigger.lane import Lane
from pacsless.trigger.report import Report
from pacsless.trigger.workers import Workers

_logger: Final = logging.getLogger(__name__)

# While batches are in flight the loop waits for them, and looks for new
# messages this often; a lane that is free gets its next batch at once.
_BUSY_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 0.25
_MEASURE_SECONDS: Final = 2.0
# A rebalance waits so long for the batches of a partition that goes; there is
# no heartbeat meanwhile, and the session lasts 15 s.
_RELEASE_SECONDS: Final = 8.0


class Runner:
    """Feeds one function until told to stop.

    Parameters
    ----------
    spec
        The function.
    policies
        How it is fed.
    consumer
        Member of the function's group, not subscribed yet.
    target
        Takes its batches: an address, or workers this is to keep.
    dead_letters
        Takes what it never will.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        policies: Policies,
        consumer: Consumer,
        target: Target,
        dead_letters: DeadLetters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._policies = spec, policies
        self._consumer, self._target, self._dead_letters = consumer, target, dead_letters
        self._clock = clock
        self._concurrency = policies.trigger.concurrency
        self._pool = ThreadPoolExecutor(self._concurrency, "dispatch")
        self._outcomes: queue.SimpleQueue[tuple[Lane, Dispatch | Bury, Outcome]] = (
            queue.SimpleQueue()
        )
        self._in_flight = 0
        self._alone: Lane | None = None
        """Whose batch is in flight and must have nothing beside it."""
        self._lanes: dict[Partition, Lane] = {}
        self._committed: dict[Partition, Position] = {}
        self._new: set[Partition] = set()
        self._early: list[Message] = []
        self._paused: set[Partition] = set()
        self._turn = 0
        self._patience = _RELEASE_SECONDS
        self._report = Report(spec.name, clock)
        self._measured = clock()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then finish what is in flight and leave the group."""
        self._join(stop)
        wait = 0.0
        while not stop.is_set():
            try:
                self._read(wait)
                self._collect(_BUSY_SECONDS if self._in_flight else 0.0)
                soon = self._scale()
                wait = min(self._advance(), _BUSY_SECONDS if soon else _IDLE_SECONDS)
                self._flow()
                self._measure()
            except Unavailable as error:
                _logger.warning("kafka does not answer", extra={"fields": {"text": str(error)}})
                stop.wait(0.5)
                # A commit is refused while the group rebalances, and it is in a
                # poll that waits that this client takes its part in that.
                wait = _IDLE_SECONDS
            self._report.progress()
        self._stop()

    def _join(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._consumer.subscribe(
                    self._spec.topics, self._on_assigned, self._on_revoked, self._on_lost
                )
                return
            except Unavailable as error:
                _logger.warning("cannot join yet", extra={"fields": {"text": str(error)}})
                stop.wait(0.5)

    def _read(self, wait: float) -> None:
        self._early += self._consumer.poll(wait)
        for partition in sorted(self._new):
            position = self._consumer.committed(partition)
            self._lane(partition).adopt(partition, position)
            self._committed[partition] = position or Position(0)
            self._new.discard(partition)
        early, self._early = self._early, []
        for message in early:
            lane = self._lanes.get(message.partition)
            if lane is not None:
                lane.add(item_of(message), self._clock())

    def _lane(self, partition: Partition) -> Lane:
        if partition not in self._lanes:
            policy = self._policies.of(partition.topic)
            gathered = (
                lane
                for other, lane in self._lanes.items()
                if policy.gather == "topic" and other.topic == partition.topic
            )
            self._lanes[partition] = next(gathered, None) or Lane(policy)
        return self._lanes[partition]

    def _collect(self, timeout: float) -> None:
        """Settle what has come back, waiting for the first at most `timeout`."""
        deadline = self._clock() + timeout
        while self._in_flight:
            try:
                left = max(0.0, deadline - self._clock())
                lane, action, outcome = self._outcomes.get(timeout=left or None, block=left > 0)
            except queue.Empty:
                return
            self._in_flight -= 1
            if lane is self._alone:
                self._alone = None
            lane.settle(outcome.fate, outcome.code, self._clock())
            self._report.settled(action, outcome)
            deadline = self._clock()

    def _advance(self) -> float:
        """Commit, then hand out; return how long the next read may wait."""
        now = self._clock()
        lanes = list(dict.fromkeys(self._lanes.values()))
        self._turn += 1
        ready: list[tuple[Lane, Dispatch | Bury]] = []
        wait = _IDLE_SECONDS
        # An event that kills its worker takes with it whatever that one does
        # beside it, time and again: the last attempt shows whose doing it was.
        alone = next((lane for lane in lanes if lane.last_chance(now)), None)
        served, most = ([alone], 1) if alone else (lanes, self._concurrency)
        if self._alone is not None or not self._target.ready:
            served = []
        for index in range(len(served)):
            if self._in_flight + len(ready) >= most:
                break
            lane = served[(index + self._turn) % len(served)]
            action = lane.next(now)
            if isinstance(action, Dispatch | Bury):
                ready.append((lane, action))
            elif action.until is not None:
                wait = min(wait, max(0.001, action.until - now))
        try:
            self._commit(lanes)
        except Unavailable:
            # Nothing may be sent whose attempt is not recorded.
            for lane, _ in ready:
                lane.settle(Fate.DOWN, "broker", now)
            raise
        if ready and alone:
            self._alone = alone
        for lane, action in ready:
            self._in_flight += 1
            self._pool.submit(self._do, lane, action)
        return 0.0 if self._in_flight else wait

    def _commit(self, lanes: list[Lane]) -> None:
        changed = {
            partition: position
            for lane in lanes
            for partition, position in lane.positions().items()
            if position != self._committed.get(partition)
        }
        self._consumer.commit(changed)
        self._committed.update(changed)

    def _do(self, lane: Lane, action: Dispatch | Bury) -> None:
        try:
            if isinstance(action, Dispatch):
                outcome = self._target.send(action.items)
            else:
                outcome = self._dead_letters.bury(action)
        except Exception:
            _logger.exception("batch not sent")
            outcome = Outcome(Fate.FAILED if isinstance(action, Dispatch) else Fate.DOWN, "trigger")
        self._outcomes.put((lane, action, outcome))

    def _scale(self) -> bool:
        """Keep as many workers as there is work for; True if the next round should be soon."""
        if not isinstance(self._target, Workers):
            return False
        # What was read counts at once, what was not yet when it is measured.
        pending = sum(lane.pending for lane in dict.fromkeys(self._lanes.values()))
        soon = self._target.keep(max(pending, self._report.lag))
        self._report.workers(self._target.count)
        return soon

    def _measure(self) -> None:
        now = self._clock()
        if now - self._measured < _MEASURE_SECONDS:
            return
        self._measured = now
        # What retention has deleted is no work: `pacsless.bus.function_lag` counts so, too.
        lag = {
            partition: max(0, there.stop - max(there.start, self._committed[partition].offset))
            for partition, there in self._consumer.extents(self._committed).items()
            if partition in self._committed
        }
        oldest = {
            partition: self._lanes[partition].oldest(partition)
            for partition in lag
            if lag[partition]
        }
        self._report.measured(
            lag, {partition: at for partition, at in oldest.items() if at is not None}
        )

    def _flow(self) -> None:
        """Stop reading where enough is waiting, and read again where it is not."""
        full = {partition for partition, lane in self._lanes.items() if not lane.wants_more}
        if full - self._paused:
            self._consumer.pause(full - self._paused)
        if self._paused - full:
            self._consumer.resume(self._paused - full)
        self._paused = full

    def _on_assigned(self, partitions: frozenset[Partition]) -> None:
        self._new |= partitions
        self._report.held(self._new | self._lanes.keys())

    def _on_revoked(self, partitions: frozenset[Partition]) -> Mapping[Partition, Position]:
        deadline = self._clock() + self._patience
        going = {self._lanes[one] for one in partitions if one in self._lanes}
        while any(lane.busy for lane in going) and self._clock() < deadline:
            self._collect(min(0.1, deadline - self._clock()))
        return self._release(partitions)

    def _on_lost(self, partitions: frozenset[Partition]) -> None:
        self._release(partitions)

    def _release(self, partitions: frozenset[Partition]) -> dict[Partition, Position]:
        last: dict[Partition, Position] = {}
        for partition in partitions:
            lane = self._lanes.pop(partition, None)
            position = lane.release(partition) if lane else None
            if position is not None and position != self._committed.get(partition):
                last[partition] = position
            self._committed.pop(partition, None)
        self._new -= partitions
        self._paused -= partitions
        self._early = [one for one in self._early if one.partition not in partitions]
        self._report.held(self._new | self._lanes.keys())
        return last

    def _stop(self) -> None:
        deadline = self._clock() + self._patience
        self._patience = 0.0
        while self._in_flight and self._clock() < deadline:
            self._collect(0.1)
        try:
            self._commit(list(dict.fromkeys(self._lanes.values())))
            self._consumer.close()
        except Unavailable as error:
            _logger.warning("left without a commit", extra={"fields": {"text": str(error)}})
        self._pool.shutdown(wait=False, cancel_futures=True)
