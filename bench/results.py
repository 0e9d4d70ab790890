"""What a run finds, as JSON and as one object; the bars of the design."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import Generic, Self, TypeVar

from bench.peers import Absent
from bench.receivers import Profile

OURS = "pacsless"


@dataclass(frozen=True, slots=True)
class Row:
    """What is sent, and how.

    Attributes
    ----------
    instance
        Name of the size.
    associations
        Senders at a time.
    nodelay
        Whether they set TCP_NODELAY.
    """

    instance: str
    associations: int
    nodelay: bool


R = TypeVar("R")


@dataclass(slots=True)
class Result(Generic[R]):
    """What was measured in a row, by receiver or server.

    Attributes
    ----------
    rates
        Instances or answers a second, of each round; none for a round that failed.
    latencies
        Milliseconds from request to response.
    settle
        Seconds from the last acknowledgement until Kafka had all events, of each round.
    """

    row: R
    rates: dict[str, list[float | None]] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    settle: list[float] = field(default_factory=list)

    def rate(self, key: str) -> float | None:
        """Median of the rounds."""
        known = [one for one in self.rates.get(key, ()) if one is not None]
        return statistics.median(known) if known else None

    def ratios(self, peer: str) -> list[float]:
        """Ours to a peer's, of each round: a slow minute of the machine hits both."""
        both = zip(self.rates.get(OURS, ()), self.rates.get(peer, ()), strict=False)
        return [ours / theirs for ours, theirs in both if ours and theirs]

    def ratio(self, peer: str) -> float | None:
        """Median of the rounds' ratios."""
        found = self.ratios(peer)
        return statistics.median(found) if found else None


@dataclass(slots=True)
class Run:
    """Everything of one run."""

    facts: dict[str, str]
    sizes: dict[str, int]
    rounds: int
    seconds: float
    profiles: list[Profile]
    absent: list[Absent]
    results: list[Result[Row]]
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """As JSON, with the judgement of the bars."""
        judged = [
            {"row": asdict(bar.row), "must": bar.must, "peer": bar.must_peer,
             "ratio": self.bar_ratio(bar, bar.must_peer), "verdict": self.verdict(bar)}
            for bar in BARS
        ]  # fmt: skip
        return json.dumps({**asdict(self), "bars": judged}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        data.pop("bars")
        data["profiles"] = [Profile(**one) for one in data["profiles"]]
        data["absent"] = [Absent(**one) for one in data["absent"]]
        data["results"] = [Result(**{**one, "row": Row(**one["row"])}) for one in data["results"]]
        return cls(**data)

    def result(self, row: Row) -> Result[Row] | None:
        """The result of a row, if it was measured."""
        return next((one for one in self.results if one.row == row), None)

    def bar_ratio(self, bar: Bar, peer: str) -> float | None:
        """Ours to a peer's in a bar's row."""
        found = self.result(bar.row)
        return found.ratio(peer) if found else None

    def verdict(self, bar: Bar) -> str:
        """Whether a bar is met."""
        must, aim = self.bar_ratio(bar, bar.must_peer), self.bar_ratio(bar, bar.aim_peer)
        if must is None:
            return "not measured"
        if must < bar.must:
            return "not met"
        return "met, and the aim" if aim is not None and aim >= bar.aim else "met"


@dataclass(frozen=True, slots=True)
class Bar:
    """What must be reached in a row, and what is aimed at, as ratios to a peer."""

    row: Row
    must: float
    must_peer: str
    aim: float
    aim_peer: str


CT, SMALL = "525 KB", "8 KB"

BARS = (
    Bar(Row(CT, 1, False), 5.0, "orthanc", 1.0, "storescp"),
    Bar(Row(CT, 4, True), 0.5, "storescp", 1.0, "storescp"),
    Bar(Row(SMALL, 1, False), 10.0, "orthanc", 20.0, "orthanc"),
    Bar(Row(SMALL, 4, True), 0.2, "storescp", 0.5, "storescp"),
)
