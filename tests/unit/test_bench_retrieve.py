"""The retrieve bench: what its readers count, what it checks, and how its bars are judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.receivers import Profile
from bench.results import Result
from bench.retrieve_report import Found, report
from bench.retrieve_rows import BARS, Resource, Row, complaint, resources, rows
from bench.stored import Stored
from bench.wrk import Reading, Unread
from pacsless.burst.templates import Identifiers

READING = {
    "requests": 1000, "seconds": 2.0, "bytes": 1_000_000, "refused": 0, "failed": 0, "closed": 0,
    "p50": 1.5, "p95": 4.0,
}  # fmt: skip
ROW = Row("instance", 8)


def reading(**values: object) -> Reading:
    return Reading.of(f"Running 2s test\n{json.dumps({**READING, **values})}\n")


def stored(count: int, frames: int = 1) -> Stored:
    run = [Identifiers.of(10**17, 1, 1, number + 1) for number in range(count)]
    return Stored(run, [Path(f"{number}.dcm") for number in range(count)], 524_288, frames)


def found(ours: float, orthanc: float, static: float) -> Found:
    profiles = [Profile(key, key, "1", "", "") for key in ("pacsless", "orthanc", "nginx")]
    rates: dict[str, list[float | None]] = {
        "pacsless": [ours, ours], "orthanc": [orthanc, None], "nginx": [static, static]
    }  # fmt: skip
    latencies = {"pacsless": [1.0, 2.0]}
    return Found(
        {"kernel": "Linux"}, 2, profiles, [], {"instance": "instance, 525 KB"},
        {"instance": {"pacsless": 526_000}}, [Result(ROW, rates, latencies)],
        {"instance": {"nginx": 0.4}},
    )  # fmt: skip


def test_a_rate_is_of_whole_answers_or_of_the_bytes_of_few() -> None:
    assert reading().rate(1000) == 500
    assert reading(requests=3, bytes=3500, seconds=2.0).rate(1000) == 1.75


@pytest.mark.parametrize(
    "values", [{"refused": 1}, {"failed": 1}, {"closed": 1001}, {"requests": 0, "closed": 1}]
)
def test_an_answer_that_is_none_is_no_rate(values: dict[str, int]) -> None:
    with pytest.raises(Unread):
        reading(**values)


def test_some_servers_close_at_the_end_of_an_answer() -> None:
    assert reading(closed=1000).requests == 1000


def test_short_answers_are_found_out() -> None:
    with pytest.raises(Unread, match="1000 bytes, not 526000"):
        reading().rate(526_000)


def test_nothing_at_all_is_found_out() -> None:
    with pytest.raises(Unread, match="without a result"):
        Reading.of("unable to connect\n")


def test_answers_are_checked_for_what_was_stored() -> None:
    document = Resource("metadata", "", [], {}, entries=2)
    assert not complaint(document, 200, b"", [{}, {}])
    assert complaint(document, 200, b"", [{}]) == "1 entries, not 2"
    assert complaint(document, 404, b"", None) == "status 404"
    frame = Resource("frame", "", [], {}, size=10)
    assert not complaint(frame, 200, bytes(10), None)
    assert complaint(frame, 200, bytes(9), None) == "9 bytes, not 10"


def test_everything_the_design_names_is_read() -> None:
    wanted = resources({"scan": stored(400), "100": stored(100), "5000": stored(5000),
                        "long": stored(1, 200)})  # fmt: skip
    paths = {one.key: one.paths for one in wanted}
    assert len(paths) == len(wanted) == 14
    assert paths["last-frame"][0].endswith("/frames/200")
    assert len(paths["instance"]) == len(set(paths["instance"])) == 100
    counted = rows(wanted, (1, 8, 32))
    assert Row("study", 8) in counted
    assert Row("study", 32) not in counted
    assert Row("metadata-100", 32) in counted


@pytest.mark.parametrize(
    ("ours", "verdict"), [(190, "not met"), (250, "met"), (310, "met, and the aim")]
)
def test_bars_are_judged_by_ratios_to_each_peer(ours: float, verdict: str) -> None:
    told = report(found(ours, 100, 500))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    (line,) = [one for one in lines if one[:1] == ["instance, 525 KB"] and len(one) == 6]
    assert line[1:4] == ["8", "2 × Orthanc", "3 × Orthanc and 0.6 × nginx"]
    assert line[5] == verdict
    assert told.count("not measured") == len(BARS) - 1


def test_a_run_can_be_shown_again() -> None:
    one = found(250, 100, 500)
    again = Found.from_json(one.to_json())
    assert again == one
    assert report(again) == report(one)
