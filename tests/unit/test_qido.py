"""QIDO-RS queries: parameters to Query, Query to SQL."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.qido_rs.attributes import KEYS, Kind, Level, attribute_path
from functions.qido_rs.capabilities import searching
from functions.qido_rs.query import (
    MOST_ANYWHERE,
    MOST_WITHIN_STUDY,
    parse,
)
from functions.qido_rs.sql import build
from pacsless.errors import BadRequest

ALL = list(Level)


def test_every_required_key_is_there() -> None:
    """PS3.18 Table 10.6.1-5."""
    required = """
        StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName
        PatientID StudyInstanceUID StudyID Modality SeriesInstanceUID SeriesNumber
        PerformedProcedureStepStartDate PerformedProcedureStepStartTime SOPClassUID
        SOPInstanceUID InstanceNumber RequestAttributesSequence.ScheduledProcedureStepID
        RequestAttributesSequence.RequestedProcedureID
    """
    for name in required.split():
        assert attribute_path(name) in KEYS, name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("PatientName", "00100010"),
        ("0020000d", "0020000D"),
        ("RequestAttributesSequence.RequestedProcedureID", "00400275.00401001"),
        ("00400275.RequestedProcedureID", "00400275.00401001"),
        ("patientname", None),
        ("00100010;x", None),
        ("", None),
        ("PatientName.", None),
        ("０0100010", None),
    ],
)
def test_attribute_path(name: str, path: str | None) -> None:
    assert attribute_path(name) == path


def test_limits() -> None:
    assert parse(Level.STUDIES, []).limit == MOST_ANYWHERE
    assert parse(Level.STUDIES, [("limit", "9999999")]).limit == MOST_ANYWHERE
    assert parse(Level.SERIES, [], "1.2").limit == MOST_WITHIN_STUDY
    query = parse(Level.STUDIES, [("limit", "5"), ("offset", "10")])
    assert (query.limit, query.offset) == (5, 10)


def test_universal_matching_asks_for_the_attribute() -> None:
    for value in ("", "*", "**", " "):
        query = parse(Level.STUDIES, [("PatientAge", value)])
        assert query.matches == () and "00101010" in query.shown and not query.warnings


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("StudyDate", "20240101", "20240101", "20240101"),
        ("StudyDate", "20240101-", "20240101", ""),
        ("StudyDate", "-20240101", "", "20240101"),
        ("StudyDate", "2024.01.01-20240102", "20240101", "20240102"),
        ("StudyTime", "07", "070000.000000", "075959.999999"),
        ("StudyTime", "07-0815", "070000.000000", "081559.999999"),
        ("StudyTime", "-12:00", "", "120059.999999"),
    ],
)
def test_ranges(name: str, value: str, low: str, high: str) -> None:
    (match,) = parse(Level.STUDIES, [(name, value)]).matches
    assert (match.low, match.high) == (low, high)


def test_wild_cards_escape_the_databases_own() -> None:
    statement = build(parse(Level.STUDIES, [("PatientID", "a_%\\**?b")]), "default")
    assert "a\\_\\%\\\\%_b" in statement.parameters.values()


def test_the_tenant_scopes_every_table_that_is_read() -> None:
    for level in ALL:
        for study, series in (("", ""), ("1.2", ""), ("1.2", "1.3")):
            query = parse(level, [("ModalitiesInStudy", "CT")], study, series)
            text = build(query, "default").text
            assert f"WHERE {text.split('FROM ')[1].split()[0]}.tenant_id = :tenant" in text
            assert text.count("FROM series AS s") == text.count("s.tenant_id = :tenant AND s.study")
            assert text.count("FROM instance AS i") == text.count("i.tenant_id = :tenant")
            assert text.count("FROM study WHERE tenant_id = :tenant") == 1


VALUES = st.one_of(st.text(), st.text(alphabet="*?%_\\'\":;-=^,.0123456789$"))


@given(
    st.sampled_from(ALL),
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from([key.keyword for key in KEYS.values()]),
                st.sampled_from(["limit", "offset", "includefield", "fuzzymatching", "accept"]),
                st.text(),
            ),
            VALUES,
        ),
        max_size=5,
    ),
)
def test_input_never_becomes_sql(level: Level, parameters: list[tuple[str, str]]) -> None:
    try:
        query = parse(level, parameters)
    except BadRequest:
        return
    statement = build(query, "tenant'--")
    assert "'--" not in statement.text
    # Whatever is asked, the text is made of these characters and our constants.
    placeholders = set(re.findall(r"(?<!:):([a-z]\w*)", statement.text))
    assert placeholders == set(statement.parameters)
    skeleton = re.sub(r":p\d+", ":p", statement.text)
    assert len(skeleton) < 20_000 and skeleton.isascii() and ";" not in skeleton


def test_kinds_are_all_used() -> None:
    assert {key.kind for key in KEYS.values()} == set(Kind)


def test_unsupported_matching_is_named() -> None:
    query = parse(Level.STUDIES, [("Modality", "CT"), ("foo", "1"), ("Rows", "512")])
    assert query.matches == ()
    assert len(query.warnings) == 3
    assert not any("foo" in one for one in query.warnings)


@pytest.mark.parametrize("level", Level)
def test_what_clients_are_told_of_is_applied(level: Level) -> None:
    values = {"includefield": "all", "accept": "*/*"}
    for one in searching("Search", level).parameters:
        by_type = {"integer": "1", "boolean": "false", "string": "1.2"}
        value = values.get(one.name, by_type[one.schema["type"]])
        if one.name.endswith(("Date", "Time")):
            value = "20260101" if one.name.endswith("Date") else "10"
        if one.name.endswith("Number") and one.name != "AccessionNumber":
            value = "1"
        query = parse(level, [(one.name, value)])
        assert query.warnings == (), one.name
        assert bool(query.matches) == (one.name[0].isupper()), one.name


def test_every_key_is_told_of() -> None:
    told = {attribute_path(one.name) for one in searching("Search", Level.INSTANCES).parameters}
    bare = {path[9:] for path in KEYS if "." in path}
    sequences = {path for path, key in KEYS.items() if key.kind is Kind.SEQUENCE}
    assert told >= KEYS.keys() - bare - sequences
