"""The tables of the retrieve bench, its JSON, and the judgement of its bars."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from bench.peers import Absent
from bench.receivers import Profile
from bench.report import number, spread, table
from bench.results import OURS, Result
from bench.retrieve_rows import BARS, ORTHANC, STATIC, Bar, Row

BEGIN = "<!-- retrieve: made by `make bench-retrieve` -->"
END = "<!-- /retrieve -->"
_PROCESSOR = """\
At 8 clients, of the first round. What comes after the answer, its line in the access log becoming
a row of the warehouse, is in it as far as it was done by then."""
_NAMES = {ORTHANC: "Orthanc", STATIC: "nginx"}


@dataclass(slots=True)
class Found:
    """Everything of one run.

    Attributes
    ----------
    titles
        Of the resources, by key.
    sizes
        Bytes of an answer, by resource and server.
    latencies
        Of each row and server, median and 95th percentile in milliseconds.
    milliseconds
        Of our parts' processor time for an answer, by resource and part.
    """

    facts: dict[str, str]
    rounds: int
    profiles: list[Profile]
    absent: list[Absent]
    titles: dict[str, str]
    sizes: dict[str, dict[str, int]]
    results: list[Result[Row]]
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """As JSON, with the judgement of the bars."""
        judged = [{**asdict(bar), "verdict": self.verdict(bar)} for bar in BARS]
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

    def ratio(self, bar: Bar, peer: str) -> float | None:
        """Ours to a peer's in a bar's row."""
        row = Row(bar.resource, bar.clients)
        found = next((one for one in self.results if one.row == row), None)
        return found.ratio(peer) if found else None

    def verdict(self, bar: Bar) -> str:
        """Whether a bar is met."""
        must = self.ratio(bar, bar.must_peer)
        if must is None:
            return "not measured"
        if must < bar.must:
            return "not met"
        reached = [(self.ratio(bar, peer), aim) for aim, peer in bar.aims]
        aims = all(ratio is not None and ratio >= aim for ratio, aim in reached)
        return "met, and the aim" if aims else "met"


def report(found: Found) -> str:
    """Everything a run found."""
    median = f"Median of {found.rounds} rounds" if found.rounds > 1 else "One round"
    spreads = ", in brackets the lowest and the highest" if found.rounds > 1 else ""
    parts = [
        "### The bars",
        _bars(found),
        "### Answers a second",
        f"{median}{spreads}.",
        _rates(found),
        "### Pacsless as a multiple of each",
        f"{median.replace('of', 'of ratios of', 1)}{spreads}.",
        _ratios(found),
        "### Milliseconds from request to the end of the answer",
        "Median / 95th percentile, of the first round.",
        _latencies(found),
        "### Bytes of an answer",
        _sizes(found),
        "### Milliseconds of processor an answer of Pacsless costs",
        _PROCESSOR,
        _processor(found),
        "### What was measured",
        table(
            ["server", "version", "how"],
            [
                *([one.title, one.version, one.how] for one in found.profiles),
                *([one.title, "absent", f"to get it: {one.how_to_get}"] for one in found.absent),
            ],
        ),
        "\n".join(f"- {key}: {value}" for key, value in found.facts.items()),
    ]
    if found.failures:
        parts += ["### Failures", "\n".join(f"- {one}" for one in found.failures)]
    return "\n\n".join(parts)


def _bars(found: Found) -> str:
    rows = []
    for bar in BARS:
        got = ", ".join(
            f"{ratio:.2f} × {_NAMES[peer]}"
            for peer in dict.fromkeys((bar.must_peer, *(peer for _, peer in bar.aims)))
            if (ratio := found.ratio(bar, peer)) is not None
        )
        aims = " and ".join(f"{aim:g} × {_NAMES[peer]}" for aim, peer in bar.aims)
        rows.append(
            [found.titles.get(bar.resource, bar.resource), str(bar.clients),
             f"{bar.must:g} × {_NAMES[bar.must_peer]}", aims, got or "–", found.verdict(bar)]
        )  # fmt: skip
    return table(["answer", "clients", "must reach", "aim", "reached", "verdict"], rows)


def _rates(found: Found) -> str:
    def cell(result: Result[Row], key: str) -> str:
        known = [one for one in result.rates.get(key, ()) if one is not None]
        return spread(known, result.rate(key)) if known else "failed"

    rows = [
        [*_name(found, one), *(cell(one, profile.key) for profile in found.profiles),
         *("absent" for _ in found.absent)]
        for one in found.results
    ]  # fmt: skip
    return table([*_HEAD, *_titles(found)], rows)


def _ratios(found: Found) -> str:
    others = [one for one in found.profiles if one.key != OURS]
    rows = [
        [*_name(found, one),
         *(spread(one.ratios(peer.key), one.ratio(peer.key)) if one.ratios(peer.key) else "–"
           for peer in others)]
        for one in found.results
    ]  # fmt: skip
    return table([*_HEAD, *(one.title for one in others)], rows)


def _latencies(found: Found) -> str:
    def cell(values: list[float]) -> str:
        return f"{number(values[0])} / {number(values[1])}" if values else "–"

    rows = [
        [*_name(found, one),
         *(cell(one.latencies.get(profile.key, [])) for profile in found.profiles)]
        for one in found.results
    ]  # fmt: skip
    return table([*_HEAD, *(one.title for one in found.profiles)], rows)


def _sizes(found: Found) -> str:
    rows = [
        [found.titles[key], *(f"{sizes[one.key]:,}" if one.key in sizes else "–"
                              for one in found.profiles)]
        for key, sizes in found.sizes.items()
    ]  # fmt: skip
    return table(["answer", *(one.title for one in found.profiles)], rows)


def _processor(found: Found) -> str:
    totals: dict[str, float] = {}
    for used in found.milliseconds.values():
        for part, value in used.items():
            totals[part] = max(totals.get(part, 0.0), value)
    parts = [part for part in sorted(totals, key=lambda one: -totals[one]) if totals[part] >= 0.05]
    rows = [
        [found.titles[key], *(f"{used.get(part, 0.0):.2f}" for part in parts)]
        for key, used in found.milliseconds.items()
    ]
    return table(["answer", *parts], rows)


_HEAD = ("answer", "clients")


def _titles(found: Found) -> list[str]:
    return [one.title for one in found.profiles] + [one.title for one in found.absent]


def _name(found: Found, result: Result[Row]) -> tuple[str, str]:
    return found.titles[result.row.resource], str(result.row.clients)
