"""What the change feed is asked and what it answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from functions.change_feed.feed import DEFAULT_LIMIT, MOST, Page, entry, parse
from functions.change_feed.routes import ROUTES
from pacsless.changes import Change
from pacsless.errors import BadRequest
from pacsless.web import Route

AT = datetime(2026, 11, 23, 9, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
CHANGE = Change(7, "1.2", "1.2.3", "1.2.3.4", "update", AT, "current")


def test_defaults() -> None:
    assert parse([]) == Page(0, DEFAULT_LIMIT, True)
    assert (DEFAULT_LIMIT, MOST) == (100, 200)
    assert parse([], latest=True).include_metadata


def test_names_and_booleans_are_read_as_clients_write_them() -> None:
    asked = [("OFFSET", "12"), ("limit", "200"), ("includemetadata", "False")]
    assert parse(asked) == Page(12, 200, False)
    assert parse([("includeMetadata", "true")]).include_metadata
    assert parse([("offset", str(2**63 - 1))]).offset == 2**63 - 1


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("offset", "-1", "offset is a whole number from 0"),
        ("offset", str(2**63), "offset is a whole number from 0"),
        ("offset", "9" * 5000, "offset is a whole number from 0"),
        ("offset", "", "offset is a whole number"),
        ("offset", "１", "offset is a whole number"),
        ("limit", "0", "limit is a whole number from 1 to 200"),
        ("limit", "201", "limit is a whole number from 1 to 200"),
        ("limit", "1.5", "limit is a whole number from 1 to 200"),
        ("includeMetadata", "yes", "includeMetadata is true or false"),
        ("startTime", "2026-01-01", "takes offset, limit, includeMetadata and nothing else"),
        ("PatientName", "Doe", "takes offset, limit, includeMetadata and nothing else"),
    ],
)
def test_what_cannot_be_is_refused_and_not_quoted(name: str, value: str, told: str) -> None:
    with pytest.raises(BadRequest, match=told) as error:
        parse([(name, value)])
    assert "Doe" not in error.value.message


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(BadRequest, match="twice"):
        parse([("offset", "1"), ("Offset", "2")])


def test_the_latest_change_has_no_pages() -> None:
    with pytest.raises(BadRequest, match="takes includeMetadata and nothing else"):
        parse([("offset", "1")], latest=True)


def test_an_entry() -> None:
    expected = {
        "sequence": 7,
        "studyInstanceUid": "1.2",
        "seriesInstanceUid": "1.2.3",
        "sopInstanceUid": "1.2.3.4",
        "action": "update",
        "timestamp": "2026-11-23T08:00:00.000001Z",
        "state": "current",
    }
    assert json.loads(entry(CHANGE)) == expected
    metadata = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]}}
    line = json.dumps(metadata, ensure_ascii=False).encode()
    assert json.loads(entry(CHANGE, line)) == expected | {"metadata": metadata}
    assert AT.astimezone(UTC).hour == 8


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.rule)
def test_what_clients_are_told_of_is_taken(route: Route) -> None:
    assert route.capability is not None
    defaults = {one.name: str(one.schema["default"]) for one in route.capability.parameters}
    assert parse(defaults.items(), latest=route.rule.endswith("latest")) == Page()
    for one in route.capability.parameters:
        if "maximum" in one.schema:
            with pytest.raises(BadRequest):
                parse([(one.name, str(one.schema["maximum"] + 1))])
