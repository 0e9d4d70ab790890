"""The pure core of extract_tags."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.extract_tags.announce import conversion, has_frames_to_find
from functions.extract_tags.rows import as_json, study_row
from functions.extract_tags.tags import (
    Description,
    best,
    merge_patient_ids,
    read_tags,
)
from pacsless.dicom import keys
from pacsless.dicom.levels import LEVELS, PATIENT, SERIES, STUDY
from pacsless.identity import InstanceIdentity
from pacsless.states import keyword_values

IDENTITY = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")


def document(**values: Any) -> dict[str, Any]:
    """DICOM JSON of a small instance; tags as ``t00100010``."""
    found: dict[str, Any] = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["P-1"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00200013": {"vr": "IS", "Value": [7]},
        "00280010": {"vr": "US", "Value": [512]},
    }
    found |= {name.removeprefix("t"): one for name, one in values.items()}
    return found


def test_levels_take_their_attributes_and_no_others() -> None:
    tags = read_tags(IDENTITY, document())
    assert set(tags.patient.attributes) == {"00100010", "00100020"}
    assert set(tags.study.attributes) == {"00100010", "00100020", "0020000D"}
    assert set(tags.series.attributes) == {"00080060", "0020000E"}
    assert (tags.patient_id, tags.instance_number) == ("P-1", 7)
    assert tags.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert tags.warnings == ()


def test_an_attribute_belongs_to_one_level_but_for_the_time_zone() -> None:
    assert not set(PATIENT) & set(STUDY)
    assert (set(PATIENT) | set(STUDY)) & set(SERIES) == {"00080201"}
    assert all(len(tag) == 8 for level in LEVELS.values() for tag in level)


def test_what_postgresql_cannot_store_is_taken_out_with_a_warning() -> None:
    tags = read_tags(
        IDENTITY,
        document(
            t00100010={"vr": "PN", "Value": [{"Alphabetic": "Nul\0l"}]},
            t00081030={"vr": "LO", "Value": ["half \ud800 pair"]},
            t00081032={"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": ["x" * 20_000]}}]},
            t0008103E={"vr": "LO", "Value": ["𝄞 is whole"]},
        ),
    )
    assert tags.study.attributes["00100010"]["Value"] == [{"Alphabetic": "Null"}]
    assert tags.study.attributes["00081030"]["Value"] == ["half  pair"]
    assert tags.series.attributes["0008103E"]["Value"] == ["𝄞 is whole"]
    assert "00081032" not in tags.study.attributes
    assert set(tags.warnings) == {"PatientName", "StudyDescription", "ProcedureCodeSequence"}


def test_what_is_too_long_for_an_event_loses_its_longest_attributes() -> None:
    frames = [{"00209157": {"vr": "UL", "Value": [1, n]}} for n in range(150_000)]
    tags = read_tags(IDENTITY, document(t52009230={"vr": "SQ", "Value": frames}))
    assert tags.dicom_json == document()
    assert tags.warnings == ("52009230",)


def test_a_long_event_is_measured_in_bytes() -> None:
    """Three for each of these characters: what counts is what Kafka is sent."""
    text = {"vr": "UT", "Value": ["\u8840" * 3_000_000]}
    tags = read_tags(IDENTITY, document(t0040A160=text))
    assert tags.dicom_json == document()
    assert tags.warnings == ("0040A160",)


def test_empty_values_are_not_stated() -> None:
    full = read_tags(IDENTITY, document())
    empty = read_tags(
        IDENTITY,
        document(
            t00100010={"vr": "PN"},
            t00100020={"vr": "LO", "Value": [""]},
            t00080020={"vr": "DA", "Value": [None]},
        ),
    )
    assert empty.study.stated == 1 < full.study.stated == 3
    assert full.study.beats(empty.study)
    assert empty.patient == Description("", 0, {})


descriptions = st.builds(
    Description,
    st.sampled_from(["1.1", "1.10", "1.2", "9"]),
    st.integers(0, 3),
    st.just({}),
)


@given(st.lists(st.tuples(st.sampled_from("ab"), descriptions)), st.randoms())
def test_the_best_description_does_not_depend_on_order(
    found: list[tuple[str, Description]], chance: random.Random
) -> None:
    shuffled = chance.sample(found, len(found))
    assert best(found) == best(shuffled)
    halves = [*best(found[: len(found) // 2]).items(), *best(found[len(found) // 2 :]).items()]
    assert best(halves) == best(found)


@given(st.lists(st.lists(st.text(max_size=2)), max_size=5))
def test_patient_ids_merge_in_any_order(lists: list[list[str]]) -> None:
    together = merge_patient_ids(*lists)
    one_by_one: list[str] = []
    for one in reversed(lists):
        one_by_one = merge_patient_ids(one_by_one, one)
    assert together == one_by_one
    assert len(merge_patient_ids(map(str, range(500)))) == 64


def test_study_row() -> None:
    attributes = {
        "00100010": {
            "vr": "PN",
            "Value": [{"Alphabetic": "YAMADA^Tarou^^", "Ideographic": "山田^太郎"}],
        },
        "00080020": {"vr": "DA", "Value": ["1997.04.24"]},
        "00080030": {"vr": "TM", "Value": ["07"]},
        "00100030": {"vr": "DA", "Value": ["unknown"]},
        "00080050": {"vr": "SH", "Value": ["x" * 9_999]},
    }
    row = study_row(("default", "1.2"), Description("1.2.3.4", 5, attributes), [""])
    assert row["patient_name"] == "yamada^tarou"
    assert (row["patient_name_ideographic"], row["patient_name_phonetic"]) == ("山田^太郎", "")
    assert (row["study_date"], row["study_time"]) == ("1997-04-24", "070000.000000")
    assert row["patient_birth_date"] is None
    assert len(row["accession_number"]) == keys.KEY_LENGTH
    assert (row["patient_id"], row["study_id"]) == ("", "")
    assert as_json([row]).startswith('[{"tenant_id":"default"')


def test_keyword_values() -> None:
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Ideographic": "王^小东"}]},
        "00101001": {"vr": "PN", "Value": [{"Alphabetic": "A"}, {"Alphabetic": "B"}]},
        "00100040": {"vr": "CS"},
        "00101002": {"vr": "SQ", "Value": [{}]},
        "00081080": {"vr": "LO", "Value": ["a", None, "c"]},
        "00101030": {"vr": "DS", "Value": [70.5]},
    }
    assert keyword_values(attributes, PATIENT) == {
        "PatientName": "=王^小东",
        "OtherPatientNames": "A\\B",
    }
    assert keyword_values(attributes, STUDY) == {
        "AdmittingDiagnosesDescription": "a\\\\c",
        "PatientWeight": 70.5,
    }


@pytest.mark.parametrize(
    ("syntax", "tag", "expected"),
    [
        ("1.2.840.10008.1.2.2", "7FE00010", "big-endian"),
        ("1.2.840.10008.1.2.2", "7FE00008", "big-endian"),
        ("1.2.840.10008.1.2.1.99", "7FE00010", "deflated-data-set"),
        ("1.2.840.10008.1.2.2", "00420011", None),
        ("1.2.840.10008.1.2", "7FE00010", None),
        ("1.2.840.10008.1.2.4.90", "7FE00010", None),
    ],
)
def test_conversion(syntax: str, tag: str, expected: str | None) -> None:
    wanted = conversion({tag: {"vr": "OW", "BulkDataURI": "x"}}, syntax)
    assert wanted == (("1.2.840.10008.1.2.1", expected) if expected else None)


@pytest.mark.parametrize(
    ("syntax", "frames", "tag", "expected"),
    [
        ("1.2.840.10008.1.2.4.50", [2], "7FE00010", True),
        ("1.2.840.10008.1.2.5", [50_000], "7FE00010", True),
        ("1.2.840.10008.1.2.4.50", [1], "7FE00010", False),
        ("1.2.840.10008.1.2.4.50", None, "7FE00010", False),
        ("1.2.840.10008.1.2.4.50", ["many"], "7FE00010", False),
        ("1.2.840.10008.1.2.4.50", [None, 2], "7FE00010", False),
        ("1.2.840.10008.1.2.4.50", [2], "00420011", False),
        ("1.2.840.10008.1.2.1", [2], "7FE00010", False),
        ("1.2.840.10008.1.2.4.102", [2], "7FE00010", False),
    ],
)
def test_frames_to_find(syntax: str, frames: list[Any] | None, tag: str, expected: bool) -> None:
    document = {tag: {"vr": "OW", "BulkDataURI": "x"}}
    if frames is not None:
        document["00280008"] = {"vr": "IS", "Value": frames}  # type: ignore[dict-item]
    assert has_frames_to_find(document, syntax) is expected


@example("0\x1f")
@given(st.text())
def test_keys_never_fail(text: str) -> None:
    assert len(keys.text_key(text)) <= keys.KEY_LENGTH
    folded = keys.name_key(text)
    assert len(folded) <= keys.KEY_LENGTH
    assert "\0" not in folded
    keys.date_key(text)
    low, high = keys.time_key(text), keys.time_key(text, end=True)
    assert (low is None) == (high is None)
    assert low is None or high is None or low <= high
    number = keys.integer_key(text)
    assert number is None or abs(number) < 2**63


@pytest.mark.parametrize(
    ("one", "other"),
    [("Müller", "MÜLLER"), ("Mu\u0308ller", "Müller"), ("ＡＢ^c", "ab^C"), ("a^b^^", "A^B")],
)
def test_names_fold_alike(one: str, other: str) -> None:
    assert keys.name_key(one) == keys.name_key(other)
