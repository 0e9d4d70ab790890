"""The bars of the end-to-end bench."""

from __future__ import annotations

from typing import Any

from bench.end_to_end_report import Found, report


def found(**values: Any) -> Found:
    reached = {"count": 1000, "per_second": 200.0, "p50": 1.0, "p95": 2.0, "max": 3.0}
    burst = {
        name: reached | {"all_after_seconds": seconds}
        for name, seconds in (
            ("acknowledged", 3.0), ("answered", None), ("indexed", 4.0), ("described", 5.0),
            ("loaded", 4.5),
        )
    }  # fmt: skip
    burst |= {"instances": 1000, "studies": 10, "bytes": 24_000_000, "lag_0_seconds": 61.0}
    singles = {"answered": [0.1] * 18 + [1.2] * 2, "indexed": [0.4] * 20}
    told = {
        "facts": {"kernel": "Linux"}, "burst": burst, "senders": 4, "backlog": 900,
        "milliseconds": {"extract_tags": 4.0, "kafka": 2.5}, "single": singles,
        "cold": {"extract_tags": [1.4, 0.9, 1.1], "load_doris": [0.7]},
    }  # fmt: skip
    return Found(**{**told, **values})


def row(text: str, start: str) -> list[str]:
    (line,) = [one for one in text.splitlines() if one.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_bars_are_judged_by_the_slowest() -> None:
    told = report(found())
    assert row(told, "acknowledged → indexed") == ["150/s", "300/s", "200/s", "met"]
    assert row(told, "lag 0 after a 1,000") == ["60 s", "20 s", "61.00 s", "not met"]
    assert row(told, "last acknowledgement") == ["2 s", "1 s", "1.20 s", "met"]
    assert row(told, "function cold start") == ["1.5 s", "1 s", "1.10 s", "met"]
    assert row(told, "all ") == ["6.50"]


def test_what_was_not_measured_is_not_met() -> None:
    told = report(found(single={}, cold={}))
    assert row(told, "last acknowledgement")[-1] == "not measured"
    assert row(told, "function cold start")[-1] == "not measured"


def test_a_picture_is_shown_if_there_is_one() -> None:
    assert "](burst.png)" in report(found(picture="burst.png"))
    assert "![" not in report(found())
