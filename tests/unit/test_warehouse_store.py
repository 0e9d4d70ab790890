"""How the local warehouse merges the rows of a load."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pacsless.columns import CONVERSION_FAILURE, STATE, Table
from pacsless.warehouse.labels import Transaction
from pacsless.warehouse.store import Store, newest

MOMENT = datetime(2026, 11, 28, tzinfo=UTC).replace(tzinfo=None)


def row(table: Table, **values: Any) -> list[Any]:
    kinds = {"VARCHAR": "x", "BIGINT": 1, "DATETIME": MOMENT, "BOOLEAN": False}
    return [
        values[column.name]
        if column.name in values
        else None if column.nullable else kinds[column.base_type]
        for column in table.columns
    ]  # fmt: skip


def value(table: Table, one: list[Any], name: str) -> Any:
    return one[[column.name for column in table.columns].index(name)]


def test_the_last_of_the_rows_with_the_largest_sequence_value_stays() -> None:
    rows = [
        row(STATE, study_instance_uid=study, event_seq=sequence, study_id=mark)
        for study, sequence, mark in
        (("1", 2, "a"), ("2", 1, "b"), ("1", 3, "c"), ("1", 3, "d"), ("1", 1, "e"))
    ]  # fmt: skip
    found = newest(STATE, rows)
    assert [value(STATE, one, "study_id") for one in found] == ["d", "b"]


@pytest.mark.parametrize("table", [STATE, CONVERSION_FAILURE], ids=lambda one: one.name)
def test_a_statement_that_is_kept_merges_every_load(tmp_path: Path, table: Table) -> None:
    store = Store(tmp_path)
    try:
        for number, sequence in enumerate((5, 7, 6), 1):
            rows = [row(table, study_instance_uid=str(uid), event_seq=sequence) for uid in (1, 2)]
            store.load(table, rows, Transaction(number, f"label-{number}", "PREPARE", 0.0))
        with store.cursor() as cursor:
            found = cursor.execute(
                f"SELECT study_instance_uid, event_seq FROM pacsless.{table.name} ORDER BY 1"
            ).fetchall()
        assert found == [("1", 7), ("2", 7)]
    finally:
        store.close()
