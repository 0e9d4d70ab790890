"""What a load came to: a table for people, a JSON object for programs: pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pacsless.burst.timeline import Sample
from pacsless.burst.watching import Outcome
from pacsless.send.sending import code, meaning

MILESTONES: Final = {
    "answered": "answered by WADO-RS metadata",
    "indexed": "counted by QIDO-RS",
    "described": "in the stored metadata",
    "loaded": "in the warehouse",
}
"""Where an instance gets, by its name in JSON."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 60


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """For ``--json``; times are seconds since the first association."""
    timeline = outcome.timeline
    acknowledged = timeline.acknowledged
    found: dict[str, Any] = {
        "instances": timeline.instances,
        "studies": len(acknowledged.studies),
        "bytes": outcome.bytes,
        "complete": outcome.complete,
        "statuses": {code(status): count for status, count in outcome.statuses.most_common()},
        "acknowledged": _reached(acknowledged.count, acknowledged.last or None),
    }
    ends = {
        "indexed": timeline.indexed.at,
        "described": timeline.described.at,
        "loaded": timeline.loaded.at,
    }
    for name, delays in timeline.delays().items():
        seconds = sorted(delay for _, delay in delays)
        found[name] = _reached(len(seconds), ends.get(name)) | _spread(seconds)
    quiet = timeline.quiet_at
    found["lag_0_seconds"] = None if quiet is None else round(quiet - acknowledged.last, 3)
    found["samples"] = [asdict(one) | {"backlog": one.backlog} for one in timeline.samples]
    found["problems"] = outcome.problems
    return found


def _reached(count: int, at: float | None) -> dict[str, Any]:
    return {
        "count": count,
        "all_after_seconds": None if at is None else round(at, 3),
        "per_second": None if not at else round(count / at, 1),
    }


def _spread(seconds: Sequence[float]) -> dict[str, Any]:
    if not seconds:
        return {"p50": None, "p95": None, "max": None}
    return {
        "p50": round(statistics.median(seconds), 3),
        "p95": round(percentile(seconds, 0.95), 3),
        "max": round(seconds[-1], 3),
    }


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of the values does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -int(-part * len(ordered) // 1) - 1))]


def text(outcome: Outcome) -> str:
    """For people."""
    told, timeline = as_dict(outcome), outcome.timeline
    lines = [
        f"{told['instances']:,} instances in {told['studies']:,} studies, "
        f"{outcome.bytes / 1e6:,.1f} MB: "
        + ", ".join(f"{count:,} {meaning(status)}" for status, count in outcome.statuses.items()),
        "",
        f"{'':<30}{'instances':>10}{'all after':>11}{'rate':>9}   seconds from acknowledgement",
        f"{'':<30}{'':>10}{'s':>11}{'/s':>9}{'p50':>9}{'p95':>9}{'max':>9}",
        _row("acknowledged", told["acknowledged"]),
        *(_row(title, told[name]) for name, title in MILESTONES.items() if told[name]["count"]),
    ]
    if told["lag_0_seconds"] is not None:
        lines.append(
            f"\nNothing waited any more {told['lag_0_seconds']:.1f} s after the last "
            "acknowledgement."
        )
    lines += ["", *_pictures(timeline.samples)]
    return "\n".join(lines)


def _row(title: str, row: dict[str, Any]) -> str:
    cells = [row["all_after_seconds"], row["per_second"], row.get("p50"), row.get("p95"),
             row.get("max")]  # fmt: skip
    formats = ("11.1f", "9.0f", "9.2f", "9.2f", "9.2f")
    numbers = "".join(
        f"{'':>{form.split('.')[0]}}" if cell is None else f"{cell:{form}}"
        for cell, form in zip(cells, formats, strict=True)
    )
    return f"{title:<30}{row['count']:>10,}{numbers}".rstrip()


def _pictures(samples: Sequence[Sample]) -> list[str]:
    lines = []
    for title, values in (
        ("backlog", [one.backlog for one in samples]),
        ("workers", [sum(one.workers.values()) if one.workers else None for one in samples]),
    ):
        if known := [one for one in values if one is not None]:
            lines.append(f"{title:<9}{sparkline(values)}  most {max(known):,}")
    if lines:
        end = f"{samples[-1].at:.0f} s"
        lines.append(f"{'':<9}0 s{end.rjust(min(_WIDTH, len(samples)) - 3)}")
    return lines


def sparkline(values: Sequence[float | None], width: int = _WIDTH) -> str:
    """Values as a row of bars from 0 to the largest; where nothing is known, a space.

    Examples
    --------
    >>> sparkline([0, 7, 3, None, 1])
    '▁█▄ ▂'
    """
    count = min(width, len(values))
    top = max((one for one in values if one is not None), default=0) or 1
    bars = []
    for index in range(count):
        some = values[len(values) * index // count : len(values) * (index + 1) // count]
        known = [one for one in some if one is not None]
        bars.append(_BARS[round(max(known) / top * (len(_BARS) - 1))] if known else " ")
    return "".join(bars)
