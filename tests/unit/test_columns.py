"""The tables' model, and what is generated from it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from pacsless.columns import (
    IMAGE,
    STATE,
    TABLES,
    Column,
    Table,
    doris_ddl,
    doris_files,
    duckdb_ddl,
    duckdb_type,
    snake_case,
)

ROOT = Path(__file__).resolve().parents[2]
ATTRIBUTES = [(table, column) for table in TABLES for column in table.columns if column.keyword]


def test_the_committed_doris_ddl_is_what_the_model_generates() -> None:
    folder = ROOT / "schemas" / "doris"
    committed = {file.name: file.read_text() for file in folder.glob("*.sql")}
    assert committed == doris_files(), "run: python -m pacsless.columns --write schemas/doris"


@pytest.mark.parametrize(("table", "column"), ATTRIBUTES)
def test_attribute_columns_agree_with_the_data_dictionary(table: Table, column: Column) -> None:
    assert keyword_for_tag(column.tag) == column.keyword
    assert f"{tag_for_keyword(column.keyword):08X}" == column.tag
    assert dictionary_VR(column.tag) == column.vr
    assert snake_case(column.keyword) == column.name


@pytest.mark.parametrize("table", TABLES)
def test_tables_keep_the_rules_of_doris(table: Table) -> None:
    names = tuple(column.name for column in table.columns)
    assert len(set(names)) == len(names)
    # Key columns are a prefix in order; the tenant leads, after the partition at most.
    assert names[: len(table.key)] == table.key
    assert table.key.index("tenant_id") == (1 if table.partition else 0)
    assert all(not table.column(name).nullable for name in table.key)
    assert table.distribution in table.key
    if table.partition:
        assert table.partition in table.key
        assert table.column(table.partition).type == "DATE"
    if table.sequence:
        sequence = table.column(table.sequence)
        assert (sequence.type, sequence.nullable) == ("BIGINT", False)
        assert table.sequence not in table.key
    assert set(table.indexes) <= set(names)
    assert all('"' not in column.description for column in table.columns)
    # String keys of a Doris table have at most 65,533 bytes; ours are short on purpose.
    assert all((table.column(name).length or 0) <= 64 for name in table.key)


def test_images_are_partitioned_by_first_ingest_and_not_by_study_date() -> None:
    assert IMAGE.partition == "created_date"
    assert "study_date" not in IMAGE.key


def test_doris_ddl_of_a_table() -> None:
    table = Table(
        name="t",
        description="a test",
        key=("day", "tenant_id"),
        columns=(
            Column("day", "DATE", "when", nullable=False),
            Column("tenant_id", "VARCHAR(64)", "who", nullable=False, default=""),
            Column("event_seq", "BIGINT", "which", nullable=False),
            Column("note", "JSON", "what"),
        ),
        distribution="tenant_id",
        buckets=2,
        partition="day",
        partition_unit="day",
        indexes=("tenant_id",),
        properties=(("compression", "ZSTD"),),
    )
    assert doris_ddl(table, replication_num=3) == (
        "CREATE TABLE IF NOT EXISTS `t` (\n"
        '  `day` DATE NOT NULL COMMENT "when",\n'
        '  `tenant_id` VARCHAR(64) NOT NULL DEFAULT "" COMMENT "who",\n'
        '  `event_seq` BIGINT NOT NULL COMMENT "which",\n'
        '  `note` JSON NULL COMMENT "what",\n'
        "  INDEX `i_tenant_id` (`tenant_id`) USING INVERTED\n"
        ")\n"
        "UNIQUE KEY (`day`, `tenant_id`)\n"
        'COMMENT "a test"\n'
        "AUTO PARTITION BY RANGE (date_trunc(`day`, 'day')) ()\n"
        "DISTRIBUTED BY HASH(`tenant_id`) BUCKETS 2\n"
        "PROPERTIES (\n"
        '  "replication_num" = "3",\n'
        '  "enable_unique_key_merge_on_write" = "true",\n'
        '  "function_column.sequence_col" = "event_seq",\n'
        '  "compression" = "ZSTD"\n'
        ");\n"
    )


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_takes_its_ddl_and_keeps_types_and_nullability(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA pacsless")
        connection.execute(duckdb_ddl(table, "pacsless"))
        found = connection.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE table_name = ? ORDER BY column_index",
            [table.name],
        ).fetchall()
    assert found == [(one.name, duckdb_type(one), one.nullable) for one in table.columns]


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("SOPInstanceUID", "sop_instance_uid"),
        ("Rows", "rows"),
        ("KVP", "kvp"),
        ("PatientID", "patient_id"),
        ("IssuerOfPatientID", "issuer_of_patient_id"),
        ("FrameOfReferenceUID", "frame_of_reference_uid"),
    ],
)
def test_snake_case(keyword: str, name: str) -> None:
    assert snake_case(keyword) == name


def test_the_state_has_what_a_study_list_shows() -> None:
    wanted = {"patient_name", "patient_id", "study_date", "modality", "accession_number"}
    assert wanted <= {column.name for column in STATE.columns}


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(KeyError):
        STATE.column("width")
