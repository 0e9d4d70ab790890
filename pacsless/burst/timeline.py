"""What was seen of a load, and when: pure.

Nothing is asked of single instances. A sender sends a study in order, and every
part keeps the order of a study, so once a part counts n instances of a study, the
n that were acknowledged first are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Counts = Mapping[str, int]
"""Instances by Study or Series Instance UID."""


@dataclass(slots=True)
class Acknowledged:
    """When each instance was acknowledged, in seconds since the start, by its study and series."""

    studies: dict[str, list[float]] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)
    count: int = 0
    last: float = 0.0

    def add(self, study: str, series: str, at: float) -> None:
        """Note an acknowledgement; within a study in the order they come in."""
        self.studies.setdefault(study, []).append(at)
        self.series.setdefault(series, []).append(at)
        self.count += 1
        self.last = max(self.last, at)


@dataclass(slots=True)
class Milestone:
    """How many instances have got somewhere, as it grew."""

    steps: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    """By study or series: when it was seen to have more instances, and how many."""
    count: int = 0
    at: float | None = None
    """When it last grew."""

    def see(self, counts: Counts, at: float) -> None:
        """Note what is counted at a moment; a count that falls is not taken back."""
        for uid, count in counts.items():
            steps = self.steps.setdefault(uid, [])
            before = steps[-1][1] if steps else 0
            if count > before:
                steps.append((at, count))
                self.count += count - before
                self.at = at

    def delays(self, acknowledged: Mapping[str, Sequence[float]]) -> list[tuple[float, float]]:
        """When each instance was acknowledged, and the seconds until it was here."""
        found = []
        for uid, times in acknowledged.items():
            done = 0
            for at, count in self.steps.get(uid, ()):
                found += [(one, max(0.0, at - one)) for one in times[done:count]]
                done = count
        return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The archive at a moment; None stands for what was not asked or not answered."""

    at: float
    """Seconds since the start."""
    acknowledged: int
    outbox: int | None = None
    """Events the gateway still owes Kafka."""
    lag: dict[str, int] | None = None
    """Function: events it has not handled."""
    workers: dict[str, int] | None = None
    """Function: its processes."""
    indexed: int | None = None
    """Instances QIDO-RS counts."""
    described: int | None = None
    """Instances in stored metadata documents."""
    loaded: int | None = None
    """Instances in the warehouse."""

    @property
    def backlog(self) -> int | None:
        """Events that wait somewhere."""
        if self.outbox is None and self.lag is None:
            return None
        return (self.outbox or 0) + sum((self.lag or {}).values())


@dataclass(slots=True)
class Timeline:
    """Everything that was seen of a load."""

    instances: int
    """That were to be sent."""
    acknowledged: Acknowledged
    indexed: Milestone = field(default_factory=Milestone)
    described: Milestone = field(default_factory=Milestone)
    loaded: Milestone = field(default_factory=Milestone)
    answered: list[tuple[float, float]] = field(default_factory=list)
    """Some instances: when acknowledged, and the seconds until ``/metadata`` had them."""
    samples: list[Sample] = field(default_factory=list)

    def delays(self) -> dict[str, list[tuple[float, float]]]:
        """When each instance was acknowledged and the seconds until it was somewhere."""
        studies, series = self.acknowledged.studies, self.acknowledged.series
        return {
            "answered": self.answered,
            "indexed": self.indexed.delays(studies),
            "described": self.described.delays(series),
            "loaded": self.loaded.delays(studies),
        }

    @property
    def quiet_at(self) -> float | None:
        """When nothing waited any more after the last acknowledgement."""
        for sample in self.samples:
            if sample.at >= self.acknowledged.last and sample.backlog == 0:
                return sample.at
        return None
