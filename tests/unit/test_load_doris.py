"""From events to rows and loads."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest

from functions.load_doris.rows import Load, loads, rows_of
from pacsless.codec import Delivered
from pacsless.columns import TABLES, Table
from pacsless.errors import Unprocessable
from pacsless.events import (
    AccessesLogged,
    AccessLogged,
    Event,
    InstanceConversionFailed,
    InstanceConverted,
    InstanceIndexed,
    InstanceReceived,
    InstanceStored,
    SeriesRevised,
)
from pacsless.functions import load_functions
from pacsless.warehouse.strict import read
from tests.events import EXAMPLES, access

HANDLED = [EXAMPLES[kind] for kind in load_functions()["load_doris"].handles]
BY_NAME = {table.name: table for table in TABLES}


def example(kind: type[Event], **values: Any) -> Any:
    event = EXAMPLES[kind.TYPE]
    assert isinstance(event, kind)
    return replace(event, **values)


def rows(event: Event) -> list[dict[str, Any]]:
    return [row for _, row in rows_of(event)]


def delivered(
    event: Event, offset: int = 0, partition: int = 0, topic: str = ""
) -> Delivered[Event]:
    return Delivered(event, event.id, "", topic or event.TOPIC, partition, offset)


def accepted(table: Table, found: list[dict[str, Any]]) -> None:
    """Doris would take the rows: so says the warehouse's strict reader."""
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in found]
    assert read(lines, table, strict=True).refused == []


def image(document: dict[str, Any]) -> dict[str, Any]:
    [row] = rows(example(InstanceIndexed, dicom_json=document))
    accepted(BY_NAME["dicom_image_meta"], [row])
    return row


def series(**attributes: Any) -> dict[str, Any]:
    found = rows(example(SeriesRevised, patient=attributes))
    accepted(BY_NAME["dicom_state_meta"], found)
    return found[0]


@pytest.mark.parametrize("event", HANDLED, ids=lambda event: type(event).__name__)
def test_every_handled_event_becomes_rows_doris_takes(event: Event) -> None:
    found = list(rows_of(event))
    assert found
    for table, row in found:
        accepted(table, [row])
        assert row["tenant_id"] == event.tenant_id


def test_every_table_is_loaded() -> None:
    assert {table.name for event in HANDLED for table, _ in rows_of(event)} == set(BY_NAME)


def test_other_events_have_no_table() -> None:
    with pytest.raises(Unprocessable):
        rows_of(example(InstanceStored))


def test_a_revised_series_is_a_row_of_itself_and_one_of_its_study() -> None:
    one, study = rows(example(SeriesRevised))
    assert (one["series_instance_uid"], study["series_instance_uid"]) == ("1.2.3.4", "")
    assert (one["event_seq"], study["event_seq"]) == (9, 9)
    assert (one["query_retrieve_level"], study["query_retrieve_level"]) == ("SERIES", "STUDY")
    assert (one["modality"], study["modality"]) == ("CT", None)
    assert (one["size_bytes"], study["size_bytes"]) == (526_336, 1_579_008)
    assert one["number_of_series_related_instances"] == 1
    assert one["number_of_study_related_instances"] is None
    assert study["number_of_study_related_series"] == 2
    assert study["number_of_study_related_instances"] == 3
    assert study["number_of_series_related_instances"] is None
    for row in (one, study):
        assert row["patient_name"] == "王^小东"
        assert row["patient_id"] is None, "empty type 2 values are NULL"
        assert row["study_date"] == "2020-01-01"
        assert row["updated_at"] == "2026-11-23 08:00:00.000001"


def test_only_the_newest_of_its_series_writes_a_study_s_row() -> None:
    """Of those that name one revision of the study, which comes last must not matter."""
    (one,) = rows(example(SeriesRevised, revision=7, study_revision=9))
    assert one["query_retrieve_level"] == "SERIES"


def test_typed_columns_of_an_image_and_the_whole_document() -> None:
    document = {
        "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", None, "AXIAL"]},
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080023": {"vr": "DA", "Value": ["20240229"]},
        "00200013": {"vr": "IS", "Value": [12]},
        "00200032": {"vr": "DS", "Value": [-1.5, 0, 2.25]},
        "00280010": {"vr": "US", "Value": [512]},
        "00281050": {"vr": "DS", "Value": [40, 400]},
        "00280008": {"vr": "IS"},
        "00091001": {"vr": "UN", "InlineBinary": "AAE="},
    }
    row = image(document)
    assert row["image_type"] == "ORIGINAL\\PRIMARY\\\\AXIAL"
    assert row["sop_class_uid"] == "1.2.840.10008.5.1.4.1.1.2"
    assert row["content_date"] == "2024-02-29"
    assert row["instance_number"] == 12
    assert row["image_position_patient"] == "-1.5\\0\\2.25"
    assert (row["rows"], row["columns"], row["number_of_frames"]) == (512, None, None)
    assert row["window_center"] == 40
    assert row["dicom_json"] == document
    assert (row["created_date"], row["event_seq"]) == ("2026-11-23", 7)


@pytest.mark.parametrize(
    ("tag", "column", "values"),
    [
        ("00080023", "content_date", ["2024"]),
        ("00080023", "content_date", ["20240230"]),
        ("00080023", "content_date", ["00000000"]),
        ("00080023", "content_date", ["2024022X"]),
        ("00200013", "instance_number", ["twelve"]),
        ("00200013", "instance_number", [2**31]),
        ("00200013", "instance_number", [1.5]),
        ("00180050", "slice_thickness", ["NaN"]),
        ("00180050", "slice_thickness", ["1e999"]),
        ("00180050", "slice_thickness", [{"Alphabetic": "?"}]),
        ("00280010", "rows", []),
        ("00280010", "rows", [None]),
        ("00280010", "rows", None),
    ],
)
def test_what_a_column_cannot_take_is_null_and_stays_in_the_document(
    tag: str, column: str, values: Any
) -> None:
    document = {tag: {"vr": "XX", "Value": values}}
    row = image(document)
    assert row[column] is None
    assert row["dicom_json"] == document


@pytest.mark.parametrize(
    ("value", "number"), [("12", 12), (" 12 ", 12), ("12\\13", 12), ("-7", -7), (12.0, 12)]
)
def test_numbers_sent_as_text(value: Any, number: int) -> None:
    assert image({"00200013": {"vr": "IS", "Value": [value]}})["instance_number"] == number


@pytest.mark.parametrize("text", ["20240229", "2024.02.29", " 20240229 "])
def test_dates_as_devices_write_them(text: str) -> None:
    assert series(PatientBirthDate=text)["patient_birth_date"] == "2024-02-29"


def test_long_texts_are_cut_at_a_character() -> None:
    # 256 bytes of UTF-8: 85 characters of three bytes and one byte left over.
    assert series(PatientID="王" * 100)["patient_id"] == "王" * 85
    assert series(PatientID="a\0b")["patient_id"] == "ab"
    assert series(PatientID="x\ud800")["patient_id"] == "x?"


def test_names_keep_their_component_groups() -> None:
    name = {"Alphabetic": "Wang^XiaoDong", "Phonetic": "x"}
    assert series(PatientName=[name])["patient_name"] == "Wang^XiaoDong==x"
    assert series(PatientName={"Ideographic": "王^小东"})["patient_name"] == "=王^小东"
    assert series(PatientName={"Alphabetic": 5})["patient_name"] is None


def test_a_document_above_doris_limit_is_left_out_and_the_row_stays() -> None:
    fits = {"00091001": {"vr": "LT", "Value": ["x" * (2**20 - 37)]}}
    assert len(json.dumps(fits, separators=(",", ":"))) == 2**20
    assert image(fits)["dicom_json"] == fits
    fits["00091001"]["Value"] = ["é" * 2**19]
    row = image({**fits, "00280010": {"vr": "US", "Value": [512]}})
    assert (row["dicom_json"], row["rows"]) == (None, 512)


def test_an_attempt_with_invalid_identifiers_is_logged_cut_to_fit() -> None:
    event = example(InstanceReceived, sop_instance_uid="x" * 500, status=0xA900, reason="r" * 999)
    [row] = rows(event)
    accepted(BY_NAME["dicom_receive_log"], [row])
    assert row["sop_instance_uid"] == "x" * 64
    assert row["status"] == 0xA900
    assert row["event_id"] == event.id
    assert row["received_date"] == "2026-11-23"


def test_replays_of_a_log_have_the_same_key() -> None:
    for event in (example(InstanceReceived), example(AccessLogged), example(AccessesLogged)):
        found, replayed = rows_of(event), rows_of(type(event).from_data(event.data()))
        for (table, row), (_, again) in zip(found, replayed, strict=True):
            assert [row[name] for name in table.key] == [again[name] for name in table.key]


def test_an_access_is_the_same_row_alone_and_among_others() -> None:
    """Events of before may still be in the topic."""
    alone = example(AccessLogged)
    same = {name: value for name, value in alone.data().items() if name != "TenantID"}
    assert rows(alone) == rows(example(AccessesLogged, accesses=[same]))


def test_accesses_are_rows_in_their_order_of_one_load() -> None:
    accesses = [access(f"{number:x}") for number in range(500)]
    one, two = (example(AccessesLogged, accesses=some) for some in (accesses[:300], accesses[300:]))
    [load] = loads([delivered(one, 17, 3), delivered(two, 18, 3)])
    assert [row["request_id"] for row in load.rows] == [f"{number:x}" for number in range(500)]
    assert load.label.startswith("wado_access_log-access_log_queue-3-17-18-")
    accepted(BY_NAME["wado_access_log"], load.rows)


@pytest.mark.parametrize("request_id", ["", "x" * 65])
def test_a_key_is_never_cut(request_id: str) -> None:
    with pytest.raises(Unprocessable):
        rows_of(example(AccessLogged, request_id=request_id))
    with pytest.raises(Unprocessable):
        rows_of(example(AccessesLogged, accesses=[access("f3a2"), access(request_id)]))


@pytest.mark.parametrize(
    "event",
    [
        example(InstanceIndexed, created_date="23.11.2026"),
        example(InstanceIndexed, received_at="yesterday"),
        example(AccessLogged, accessed_at=""),
        example(AccessesLogged, accesses=[access("f3a2", AccessedAt="yesterday")]),
    ],
    ids=lambda event: type(event).__name__,
)
def test_our_own_times_must_be_right(event: Event) -> None:
    with pytest.raises(Unprocessable) as caught:
        rows_of(event)
    assert caught.value.code == "schema"


def test_times_with_an_offset_are_converted() -> None:
    [row] = rows(example(AccessLogged, accessed_at="2026-11-23T00:30:00+02:00"))
    assert row["accessed_at"] == "2026-11-22 22:30:00.000000"
    assert row["accessed_date"] == "2026-11-22"


def test_a_conversion_that_succeeds_later_resolves_its_failure() -> None:
    target = "1.2.840.10008.1.2.1"
    failed = example(InstanceConversionFailed, target_transfer_syntax=target)
    converted = example(
        InstanceConverted, target_transfer_syntax=target, converted_at="2026-11-23T08:00:00.000002Z"
    )
    [(table, one)], [(_, other)] = rows_of(failed), rows_of(converted)
    assert [one[name] for name in table.key] == [other[name] for name in table.key]
    assert other["event_seq"] == one["event_seq"] + 1
    assert (one["failed_at"], one.get("resolved_at")) == ("2026-11-23 08:00:00.000001", None)
    assert (other.get("failed_at"), other["resolved_at"]) == (None, "2026-11-23 08:00:00.000002")
    assert (one["stage"], one["error_code"]) == ("parse", "inflate-limit")


def test_a_batch_is_one_load_per_table() -> None:
    batch = [delivered(event, offset) for offset, event in enumerate(HANDLED * 2)]
    found = loads(batch)
    assert sorted(load.table for load in found) == sorted(BY_NAME)
    sizes = {load.table: len(load.rows) for load in found}
    assert sizes["dicom_state_meta"] == 4
    assert sizes["conversion_failure"] == 4
    assert loads([]) == []


def label_of(*batch: Delivered[Event]) -> str:
    [load] = loads(batch)
    assert isinstance(load, Load)
    assert re.fullmatch(r"[-_A-Za-z0-9]{1,128}", load.label)
    return load.label


def test_labels_tell_where_a_batch_came_from_and_repeat_with_it() -> None:
    event = example(AccessLogged)
    label = label_of(delivered(event, 17, 3), delivered(event, 18, 3))
    assert label.startswith("wado_access_log-access_log_queue-3-17-18-")
    assert label == label_of(delivered(event, 17, 3), delivered(event, 18, 3))


def test_labels_differ_when_anything_else_does() -> None:
    event = example(AccessLogged)
    other = example(AccessLogged, request_id="other")
    labels = {
        label_of(delivered(event, 17)),
        label_of(delivered(event, 18)),
        label_of(delivered(event, 17, 1)),
        label_of(delivered(event, 17, topic="access_log_queue.dlq")),
        label_of(delivered(event, 17), delivered(event, 18)),
        label_of(delivered(event, 17), delivered(event, 17, 1)),
        # A topic made anew counts from 0 again: other rows at the same offsets.
        label_of(delivered(other, 17)),
        label_of(delivered(event, -1, -1, "é" * 300)),
    }
    assert len(labels) == 8


def test_the_events_have_no_field_that_no_table_knows() -> None:
    """A field added to an event shows here, so that somebody decides on its column."""
    known = {
        AccessLogged: set(),
        InstanceReceived: set(),
        InstanceIndexed: set(),
        InstanceConversionFailed: set(),
        # The rendition is told by its path, which is computed.
        InstanceConverted: {"rendition_path", "rendition_size", "rendition_sha256"},
    }  # fmt: skip
    renamed = {
        "transfer_syntax": "transfer_syntax_uid",
        "target_transfer_syntax": "target_transfer_syntax_uid",
        "file_size": "size_bytes",
        "revision": "event_seq",
        "converted_at": "resolved_at",
    }
    for kind, unused in known.items():
        [(table, _)] = rows_of(example(kind))
        names = {column.name for column in table.columns}
        missing = {renamed.get(one.name, one.name) for one in fields(kind)} - names
        assert missing == unused, kind.__name__
