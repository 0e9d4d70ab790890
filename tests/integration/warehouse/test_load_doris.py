"""load_doris as it is deployed, into the local warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pacsless import resources
from pacsless.codec import BATCH_CONTENT_TYPE, batch, batch_item, to_record
from pacsless.events import AccessesLogged, Event, InstanceIndexed, SeriesRevised
from pacsless.functions import load_functions
from pacsless.stream_load import StreamLoad
from pacsless.warehouse import Fault, Warehouse
from tests.events import EXAMPLES, access
from tests.services import app_of

HANDLED = [EXAMPLES[kind] for kind in load_functions()["load_doris"].handles]


@pytest.fixture
def function(warehouse: Warehouse) -> Iterator[Any]:
    with warehouse.store.cursor() as cursor:
        for name in warehouse.store.tables:
            cursor.execute(f"DELETE FROM pacsless.{name}")
    client = StreamLoad(
        f"http://127.0.0.1:{warehouse.fe_port}", "pacsless", "root", "",
        [f"127.0.0.1:{warehouse.be_port}"], patience=5,
    )  # fmt: skip
    with resources.override({StreamLoad: client}):
        yield app_of("load_doris").test_client()


def post(function: Any, events: list[Event], first: int = 0, partition: int = 0) -> Any:
    items = []
    for offset, event in enumerate(events, first):
        record = to_record(event, "/tests")
        items.append(batch_item(record.headers, record.value, record.topic, partition, offset))
    return function.post("/", data=batch(items), content_type=BATCH_CONTENT_TYPE)


def contents(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    with warehouse.store.cursor() as cursor:
        return {
            name: cursor.execute(f"SELECT * FROM pacsless.{name} ORDER BY ALL").fetchall()
            for name in warehouse.store.tables
        }


def test_every_event_reaches_its_table_and_replays_change_nothing(
    warehouse: Warehouse, function: Any
) -> None:
    assert post(function, HANDLED).status_code == 204
    first = contents(warehouse)
    assert {name: len(rows) for name, rows in first.items()} == {
        "dicom_state_meta": 2,
        "dicom_image_meta": 1,
        "dicom_receive_log": 1,
        # One alone, and two of one event.
        "wado_access_log": 3,
        # The conversion that was made and the one that failed have the same target.
        "conversion_failure": 1,
    }
    # The same batch; the topic from its start in other batches; other offsets, in reverse.
    assert post(function, HANDLED).status_code == 204
    for offset, event in enumerate(HANDLED):
        assert post(function, [event], offset).status_code == 204
    assert post(function, HANDLED[::-1], 1000, 3).status_code == 204
    # Two outcomes at the same microsecond: the last one written stays, as in Doris.
    names = [name for name in first if name != "conversion_failure"]
    assert {name: contents(warehouse)[name] for name in names} == {n: first[n] for n in names}


def test_a_log_that_was_cut_otherwise_before_a_crash_changes_nothing(
    warehouse: Warehouse, function: Any
) -> None:
    """What ships the log sends again what it had not noted, with what was logged since."""
    base = EXAMPLES[AccessesLogged.TYPE]
    assert isinstance(base, AccessesLogged)
    accesses = [access(f"{number:x}", BytesSent=number) for number in range(10)]
    before, after = replace(base, accesses=accesses[:4]), replace(base, accesses=accesses)
    other = replace(base, tenant_id="north", accesses=accesses[:2])
    assert post(function, [before]).status_code == 204
    assert post(function, [before, after, other, after], 1).status_code == 204
    first = contents(warehouse)["wado_access_log"]
    assert len(first) == 12
    assert post(function, [other, before, after], 5).status_code == 204
    assert contents(warehouse)["wado_access_log"] == first


def test_a_topic_made_anew_is_not_taken_for_loaded(warehouse: Warehouse, function: Any) -> None:
    base = EXAMPLES[InstanceIndexed.TYPE]
    assert isinstance(base, InstanceIndexed)
    for number in range(2):
        event = replace(base, sop_instance_uid=f"1.2.{number}")
        assert post(function, [event], first=0).status_code == 204
    assert len(contents(warehouse)["dicom_image_meta"]) == 2


def test_a_late_revision_does_not_undo_a_newer_one(warehouse: Warehouse, function: Any) -> None:
    base = EXAMPLES[SeriesRevised.TYPE]
    assert isinstance(base, SeriesRevised)
    newer = replace(base, revision=8, study_revision=8, number_of_series_related_instances=2)
    older = replace(base, revision=7, study_revision=7, number_of_series_related_instances=1)
    for offset, event in enumerate((newer, older)):
        assert post(function, [event], offset).status_code == 204
    with warehouse.store.cursor() as cursor:
        found = cursor.execute(
            "SELECT event_seq, number_of_series_related_instances FROM pacsless.dicom_state_meta "
            "WHERE query_retrieve_level = 'SERIES'"
        ).fetchall()
    assert found == [(8, 2)]


def test_fates(warehouse: Warehouse, function: Any) -> None:
    """Dependency down: 503 and the same batch works later. Beyond help: 422."""
    warehouse.faults.add(Fault.TOO_MANY_VERSIONS)
    first = post(function, HANDLED[:1], 5)
    assert (first.status_code, json.loads(first.data)) == (503, {"code": "too-many-versions"})
    assert post(function, HANDLED[:1], 5).status_code == 204
    base = EXAMPLES[InstanceIndexed.TYPE]
    assert isinstance(base, InstanceIndexed)
    last = post(function, [replace(base, created_date="PATIENT^NAME")])
    assert (last.status_code, json.loads(last.data)) == (422, {"code": "schema"})
