"""Which dead letters wait.

Kafka deletes no single record. That letters wait no more, because their events
were sent again or given up, is a record of ``dlq_settled``: its key names their
partition, by the id Kafka gave the topic, as a topic that is made anew has other
letters; its value holds their offsets. A letter waits if no such record names
it. `trim` deletes letters up to the first that waits, and what the log says of
those that are gone.
"""

from __future__ import annotations

import bisect
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from pacsless.bus.consumer import Message, Partition
from pacsless.bus.reading import read
from pacsless.bus.topics import delete_before, extents, topic_ids
from pacsless.codec import Record
from pacsless.events import DEAD_LETTER_SUFFIX, SETTLED_TOPIC, TOPICS, dead_letter_topic
from pacsless.settings import Settings

_GRACE_SECONDS: Final = 600.0


class Reference(NamedTuple):
    """Where a dead letter lies: ``storage_queue.dlq:0:17``."""

    partition: Partition
    offset: int

    def __str__(self) -> str:
        return f"{self.partition.topic}:{self.partition.number}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` made of one.

        Raises
        ------
        ValueError
            If it is none.
        """
        topic, number, offset = text.split(":")
        if not (number.isdecimal() and offset.isdecimal()):
            raise ValueError(text)
        return cls(Partition(topic, int(number)), int(offset))


@dataclass(frozen=True, slots=True)
class Waiting:
    """The dead letters of a partition that wait."""

    topic_id: str
    """Of the partition's topic."""
    offsets: range
    """Of all that are there."""
    settled: tuple[range, ...] = ()
    """Of those among them that wait no more: runs in order, with a gap between each two."""

    @classmethod
    def among(cls, topic_id: str, offsets: range, settled: Iterable[range]) -> Self:
        """Make one of runs in any order that may overlap, and reach beyond `offsets`."""
        runs: list[range] = []
        for one in sorted(settled, key=lambda run: run.start):
            start, stop = max(one.start, offsets.start), min(one.stop, offsets.stop)
            if start >= stop:
                continue
            if runs and start <= runs[-1].stop:
                runs[-1] = range(runs[-1].start, max(stop, runs[-1].stop))
            else:
                runs.append(range(start, stop))
        return cls(topic_id, offsets, tuple(runs))

    def __len__(self) -> int:
        return len(self.offsets) - sum(map(len, self.settled))

    def __contains__(self, offset: int) -> bool:
        if offset not in self.offsets:
            return False
        behind = bisect.bisect_right(self.settled, offset, key=lambda run: run.start)
        return not behind or offset not in self.settled[behind - 1]

    @property
    def first(self) -> int:
        """Offset of the first that waits; where the next will be if none does."""
        start = self.offsets.start
        return self.settled[0].stop if self.settled and start in self.settled[0] else start

    def before(self, offset: int) -> Waiting:
        """Leave out those at `offset` and behind it."""
        stop = max(self.offsets.start, min(offset, self.offsets.stop))
        return Waiting.among(self.topic_id, range(self.offsets.start, stop), self.settled)


def waiting(settings: Settings, topics: Iterable[str] = TOPICS) -> dict[Partition, Waiting]:
    """Find the dead letters of these topics that wait.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    wanted = {*map(dead_letter_topic, topics), SETTLED_TOPIC}
    ids = topic_ids(settings, wanted)
    there = extents(settings, set(ids))
    log = {one: there.pop(one) for one in tuple(there) if one.topic == SETTLED_TOPIC}
    present = {(ids[one.topic], one.number) for one in there}
    settled: dict[tuple[str, int], list[range]] = {one: [] for one in present}
    for one in _log(settings, log):
        if one.partition in present:
            settled[one.partition] += one.runs
    return {
        one: Waiting.among(ids[one.topic], offsets, settled[ids[one.topic], one.number])
        for one, offsets in there.items()
    }


def dead_letter_counts(settings: Settings) -> dict[str, int]:
    """Count the dead letters of each topic that wait.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    counts = dict.fromkeys(TOPICS, 0)
    for partition, letters in waiting(settings).items():
        counts[partition.topic.removesuffix(DEAD_LETTER_SUFFIX)] += len(letters)
    return counts


def settlements(
    letters: Iterable[Reference], there: Mapping[Partition, Waiting], outcome: str
) -> list[Record]:
    """Encode that letters, in the order of their offsets, wait no more."""
    runs: dict[Partition, list[list[int]]] = {}
    for partition, offset in letters:
        some = runs.setdefault(partition, [])
        if some and some[-1][1] == offset - 1:
            some[-1][1] = offset
        else:
            some.append([offset, offset])
    return [
        Record(
            SETTLED_TOPIC,
            f"{there[partition].topic_id}:{partition.number}".encode(),
            json.dumps(
                {"topic": partition.topic, "outcome": outcome, "firsts_and_lasts": some}
            ).encode(),
            (),
        )
        for partition, some in runs.items()
    ]


def trim(settings: Settings, grace_seconds: float = _GRACE_SECONDS) -> None:
    """Delete the settled letters before the first that waits; for one process at a time.

    Parameters
    ----------
    settings
        Where the brokers are.
    grace_seconds
        How long the log remembers letters that are gone: a broker that crashes
        may have forgotten what it deleted within the last minute.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    letters = waiting(settings)
    firsts = {partition: some.first for partition, some in letters.items()}
    delete_before(
        settings, {one: at for one, at in firsts.items() if at > letters[one].offsets.start}
    )
    needed = {
        (some.topic_id, partition.number): firsts[partition] for partition, some in letters.items()
    }
    log = extents(settings, {SETTLED_TOPIC})
    kept = {partition: offsets.stop for partition, offsets in log.items()}
    recent = time.time() - grace_seconds
    for one in _log(settings, log):
        first = needed.get(one.partition)
        gone = first is None or all(run.stop <= first for run in one.runs)
        if not gone or one.at.timestamp > recent:
            kept[one.at.partition] = min(kept[one.at.partition], one.at.offset)
    delete_before(settings, {one: at for one, at in kept.items() if at > log[one].start})


class _Settled(NamedTuple):
    partition: tuple[str, int]
    """Topic id and number."""
    runs: list[range]
    at: Message
    """The record that says so."""


def _log(settings: Settings, offsets: Mapping[Partition, range]) -> Iterator[_Settled]:
    for message in read(settings, offsets):
        topic_id, number = (message.key or b"").decode().split(":")
        told = json.loads(message.value or b"")["firsts_and_lasts"]
        runs = [range(first, last + 1) for first, last in told]
        yield _Settled((topic_id, int(number)), runs, message)
