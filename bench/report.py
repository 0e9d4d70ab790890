"""The tables: Markdown with aligned columns, so that a terminal shows them as well."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from bench.results import BARS, OURS, Result, Row, Run
from bench.senders import STORESCU

BEGIN = "<!-- ingest: made by `make bench` -->"
END = "<!-- /ingest -->"


def report(run: Run) -> str:
    """Everything a run found."""
    parts = [
        "### C-STORE, instances acknowledged per second",
        f"{_of_rounds(run, '')}.",
        _rates(run),
        "### Pacsless as a multiple of each",
        f"{_of_rounds(run, 'ratios of ')}.",
        _ratios(run),
        "### The bars",
        _bars(run),
    ]
    if any(one.latencies for one in run.results):
        parts += [
            "### Milliseconds from request to response, one association",
            "Median / 95th percentile, as `storescu` logs them.",
            _latencies(run),
        ]
    parts += ["### What was measured", _profiles(run), _facts(run)]
    if run.failures:
        parts += ["### Failures", "\n".join(f"- {one}" for one in run.failures)]
    return "\n\n".join(parts)


def _of_rounds(run: Run, what: str) -> str:
    if run.rounds == 1:
        return "One round"
    return f"Median of {what}{run.rounds} rounds, in brackets the lowest and the highest"


def _rates(run: Run) -> str:
    titles = [one.title for one in run.profiles]
    rows = [
        [*_name(one.row), *(_rate(one, profile.key) for profile in run.profiles),
         *("absent" for _ in run.absent)]
        for one in run.results
    ]  # fmt: skip
    return table([*_NAMES, *titles, *(one.title for one in run.absent)], rows)


def _rate(result: Result[Row], key: str) -> str:
    known = [one for one in result.rates.get(key, ()) if one is not None]
    return spread(known, result.rate(key)) if known else "failed"


def _ratios(run: Run) -> str:
    others = [one for one in run.profiles if one.key != OURS]
    rows = [[*_name(one.row), *(_ratio(one, peer.key) for peer in others)] for one in run.results]
    return table([*_NAMES, *(one.title for one in others)], rows)


def _ratio(result: Result[Row], peer: str) -> str:
    known = result.ratios(peer)
    return spread(known, result.ratio(peer)) if known else "–"


def _bars(run: Run) -> str:
    title = {"storescp": "storescp", "orthanc": "Orthanc"}
    rows = []
    for bar in BARS:
        peers = dict.fromkeys((bar.must_peer, bar.aim_peer))
        got = ", ".join(
            f"{ratio:.2f} × {title[peer]}"
            for peer in peers
            if (ratio := run.bar_ratio(bar, peer)) is not None
        )
        rows.append(
            [*_name(bar.row), f"{bar.must:g} × {title[bar.must_peer]}",
             f"{bar.aim:g} × {title[bar.aim_peer]}", got or "–", run.verdict(bar)]
        )  # fmt: skip
    return table([*_NAMES, "must reach", "aim", "reached", "verdict"], rows)


def _latencies(run: Run) -> str:
    rows = []
    for one in run.results:
        if not one.latencies:
            continue
        cells = []
        for profile in run.profiles:
            found = sorted(one.latencies.get(profile.key, ()))
            if len(found) < 2:
                cells.append("–")
                continue
            p95 = statistics.quantiles(found, n=20, method="inclusive")[-1]
            cells.append(f"{statistics.median(found):.1f} / {p95:.1f}")
        rows.append([*_name(one.row), *cells])
    return table([*_NAMES, *(one.title for one in run.profiles)], rows)


def _profiles(run: Run) -> str:
    rows = [[one.title, one.version, one.how, one.durable] for one in run.profiles]
    rows += [[one.title, "absent", f"to get it: {one.how_to_get}", "–"] for one in run.absent]
    return table(["receiver", "version", "how", "durable when acknowledged"], rows)


def _facts(run: Run) -> str:
    sizes = ", ".join(f"{name}: {size:,} bytes" for name, size in run.sizes.items())
    lines = [f"- {key}: {value}" for key, value in run.facts.items()]
    lines.append(
        f"- sender: `{STORESCU}`, one process for each association; "
        f"a measurement takes about {run.seconds:g} s"
    )
    lines.append(f"- instances: CT, Explicit VR Little Endian; {sizes}")
    if settle := [one for result in run.results for one in result.settle]:
        lines.append(
            "- from the last acknowledgement until Kafka had the events of all instances: "
            f"median {statistics.median(settle):.2f} s, at most {max(settle):.2f} s"
        )
    return "\n".join(lines)


_NAMES = ("instance", "assoc.", "sender")


def _name(row: Row) -> tuple[str, str, str]:
    return row.instance, str(row.associations), "TCP_NODELAY" if row.nodelay else "default"


def spread(values: list[float], middle: float | None) -> str:
    """The middle of some values, and in brackets the lowest and the highest."""
    assert middle is not None
    if len(values) == 1:
        return number(middle)
    return f"{number(middle)} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """A measured value with the digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"

    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])
