"""What a trigger tells of its work: metrics, and now and then a line of progress."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pacsless import metrics
from pacsless.bus import Partition
from pacsless.trigger.actions import Bury, Dispatch, Fate
from pacsless.trigger.dispatch import Outcome

_logger: Final = logging.getLogger(__name__)

_SECONDS: Final = 10.0


class Report:
    """What is told of one function.

    Parameters
    ----------
    function
        Its name.
    clock
        Monotonic seconds.
    """

    def __init__(self, function: str, clock: Callable[[], float]) -> None:
        self._function, self._clock = function, clock
        self._tally: Counter[str] = Counter()
        self._told = clock()
        self._lag: Counter[str] = Counter()
        self._age: dict[str, float] = {}
        self._workers: int | None = None

    @property
    def lag(self) -> int:
        """Events not handled when that was counted last."""
        return self._lag.total()

    def settled(self, action: Dispatch | Bury, outcome: Outcome) -> None:
        """Count a batch that was sent, or an event that was given up."""
        name = self._function
        if isinstance(action, Bury):
            if outcome.fate is Fate.DONE:
                self._tally["dead_letters"] += 1
                topic = action.item.partition.topic
                metrics.TRIGGER_DEAD_LETTERS.labels(name, topic, action.code).inc()
                where = {"topic": topic, "partition": action.item.partition.number}
                fields = {"code": action.code, "attempts": action.attempts, **where}
                fields["offset"] = action.item.offset
                _logger.error("event moved to the dead letters", extra={"fields": fields})
            return
        metrics.TRIGGER_BATCHES.labels(name, outcome.fate.value).inc()
        if outcome.fate is Fate.DONE:
            self._tally["events"] += len(action.items)
            metrics.TRIGGER_EVENTS.labels(name).inc(len(action.items))
        else:
            self._tally[f"{outcome.fate}:{outcome.code}"] += 1

    def held(self, partitions: Iterable[Partition]) -> None:
        """Say which partitions are this trigger's from now on."""
        told = sorted(f"{one.topic}/{one.number}" for one in partitions)
        _logger.info("partitions held", extra={"fields": {"partitions": told}})

    def measured(self, lag: Mapping[Partition, int], oldest: Mapping[Partition, float]) -> None:
        """Take what waits.

        Parameters
        ----------
        lag
            Of each partition held, the events there are from its committed offset on:
            KEDA's lag without what retention has deleted.
        oldest
            Of those with any, the timestamp of the first, as far as it is known.
        """
        self._lag = Counter[str]()
        for partition, count in lag.items():
            self._lag[partition.topic] += count
        first: dict[str, float] = {}
        for partition, timestamp in oldest.items():
            first[partition.topic] = min(timestamp, first.get(partition.topic, timestamp))
        now = time.time()
        gone = self._age.keys() - self._lag.keys()
        self._age = {
            topic: max(0.0, now - first[topic]) if topic in first else 0.0 for topic in self._lag
        }
        # Of what went to another trigger nothing waits here.
        for topic, age in (dict.fromkeys(gone, 0.0) | self._age).items():
            metrics.TRIGGER_LAG.labels(self._function, topic).set(self._lag[topic])
            metrics.TRIGGER_OLDEST_SECONDS.labels(self._function, topic).set(age)

    def workers(self, count: int) -> None:
        """Take how many workers there are."""
        self._workers = count
        metrics.TRIGGER_WORKERS.labels(self._function).set(count)

    def progress(self) -> None:
        """Write the line, if it is time and anything happened."""
        now = self._clock()
        if now - self._told < _SECONDS:
            return
        self._told = now
        if self._tally:
            oldest = round(max(self._age.values(), default=0.0), 1)
            fields = {**self._tally, "lag": self.lag, "oldest_s": oldest}
            if self._workers is not None:
                fields["workers"] = self._workers
            _logger.info("progress", extra={"fields": fields})
            self._tally.clear()
