"""The tables of the end-to-end bench, and its bars."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import number, table
from pacsless.burst.summary import MILESTONES, percentile

BEGIN = "<!-- end-to-end: made by `make bench-end-to-end` -->"
END = "<!-- /end-to-end -->"
_EVERYWHERE = ("indexed", "described", "loaded")


@dataclass(slots=True)
class Found:
    """What a run finds.

    Attributes
    ----------
    burst
        As ``pacsless burst --json`` tells it, without samples.
    backlog
        Most events that waited.
    milliseconds
        Of processor an instance of the burst, by part.
    single
        Seconds from the acknowledgement of a single instance, by milestone.
    cold
        Seconds from an event on an idle topic, with no worker, to the function handling it.
    picture
        Where the picture of the burst is, from the document that shows it.
    """

    facts: dict[str, str]
    burst: dict[str, Any]
    senders: int
    backlog: int
    milliseconds: dict[str, float]
    single: dict[str, list[float]]
    cold: dict[str, list[float]]
    picture: str = ""

    @property
    def rate(self) -> float:
        """Instances a second, from the first that is sent until all are everywhere."""
        ends: list[float] = [self.burst[name]["all_after_seconds"] for name in _EVERYWHERE]
        return float(self.burst["instances"]) / max(ends)


def report(found: Found) -> str:
    """Everything a run found."""
    burst = found.burst
    return "\n\n".join(
        [
            "### The bars",
            _bars(found),
            f"### The burst: {burst['instances']:,} instances by {found.senders} senders",
            _milestones(burst),
            _size(found),
            *([f"![The burst over time]({found.picture})"] if found.picture else []),
            "### Milliseconds of processor an instance of the burst",
            _processor(found),
            "### A single instance, idle stack",
            _singles(found),
            "### Where it was",
            "\n".join(f"- {key}: {value}" for key, value in found.facts.items()),
        ]
    )


def _size(found: Found) -> str:
    studies, size = found.burst["studies"], found.burst["bytes"] / 1e6
    return f"{studies:,} studies, {size:,.0f} MB; at most {found.backlog:,} events waited."


def _bars(found: Found) -> str:
    quiet = found.burst["lag_0_seconds"]
    answered = sorted(found.single.get("answered", ()))
    p95 = percentile(answered, 0.95) if answered else None
    slowest = max(statistics.median(one) for one in found.cold.values()) if found.cold else None
    rows = [
        ["acknowledged → indexed, in the warehouse and in metadata", "150/s", "300/s",
         f"{found.rate:.0f}/s", _verdict(-found.rate, -150, -300)],
        [f"lag 0 after a {found.burst['instances']:,}-instance burst", "60 s", "20 s",
         _seconds(quiet), _verdict(quiet, 60, 20)],
        ["last acknowledgement → in `/metadata`, idle system, p95", "2 s", "1 s",
         _seconds(p95), _verdict(p95, 2, 1)],
        ["function cold start to first event, the slowest function's median", "1.5 s", "1 s",
         _seconds(slowest), _verdict(slowest, 1.5, 1)],
    ]  # fmt: skip
    return table(["work", "must reach", "aim", "reached", "verdict"], rows)


def _verdict(value: float | None, must: float, aim: float) -> str:
    if value is None:
        return "not measured"
    if value > must:
        return "not met"
    return "met, and the aim" if value <= aim else "met"


def _milestones(burst: dict[str, Any]) -> str:
    rows = []
    for name, title in ({"acknowledged": "acknowledged"} | MILESTONES).items():
        one = burst[name]
        delays = [_seconds(one.get(key)) for key in ("p50", "p95", "max")]
        rate = "–" if one["per_second"] is None else number(one["per_second"])
        rows.append([title, f"{one['count']:,}", _seconds(one["all_after_seconds"]), rate, *delays])
    head = ["", "instances", "all after", "a second", "p50", "p95", "max"]
    return table(head, rows)


def _processor(found: Found) -> str:
    ordered = sorted(found.milliseconds.items(), key=lambda item: -item[1])
    rows = [[name, f"{value:.2f}"] for name, value in ordered if value >= 0.01]
    rows.append(["all", f"{sum(found.milliseconds.values()):.2f}"])
    return table(["part", "ms"], rows)


def _singles(found: Found) -> str:
    rows = [
        [title, str(len(values)), *(_seconds(one) for one in _spread(values))]
        for name, title in MILESTONES.items()
        if (values := found.single.get(name))
    ]
    rows += [
        [f"cold start of {name} to its first event", str(len(values)),
         *(_seconds(one) for one in _spread(values))]
        for name, values in found.cold.items()
    ]  # fmt: skip
    return table(["", "times", "median", "p95", "max"], rows)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), percentile(ordered, 0.95), ordered[-1]


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
