"""A series says how many instances it has, and their bytes, whoever changes the ledger."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pacsless.postgres import Row, migrate
from pacsless.postgres.address import Address
from pacsless.postgres.connection import Connection
from pacsless.settings import Settings
from tests.instances import new_tenant
from tests.services import REPOSITORY, PostgresServer

SCHEMAS = REPOSITORY / "schemas" / "postgres"
SIZES = "SELECT tenant_id, series_instance_uid, instances, bytes FROM series ORDER BY 1, 2"
ABOVE = """
INSERT INTO patient VALUES ('a', 'P', '', 0, '{}'), ('b', 'P', '', 0, '{}');
INSERT INTO study (tenant_id, study_instance_uid, patient_id, patient_ids, patient_name,
    patient_name_ideographic, patient_name_phonetic, patient_sex, accession_number, study_id,
    study_description, referring_physician_name, referring_physician_name_ideographic,
    referring_physician_name_phonetic, described_by, stated, attributes)
SELECT tenant_id, '1', 'P', '{P}', '', '', '', '', '', '', '', '', '', '', '', 0, '{}'
FROM patient;
INSERT INTO series (tenant_id, study_instance_uid, series_instance_uid, modality,
    series_description, body_part_examined, described_by, stated, attributes, revision)
SELECT tenant_id, '1', uid, '', '', '', '', 0, '{}', 0
FROM patient, unnest(ARRAY['1.1', '1.2']) AS uid;
"""
ADD = """
INSERT INTO instance (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid,
    sop_class_uid, transfer_syntax_uid, sha256, file_size, revision, received_at, created_date)
SELECT tenant, '1', series, sop, '', '', '', size, 0, now(), current_date
FROM (VALUES {}) AS one(tenant, series, sop, size)
ON CONFLICT DO NOTHING
"""
FIRST = "('a', '1.1', '1', 10), ('a', '1.1', '2', 20), ('a', '1.2', '1', 5), ('b', '1.1', '1', 7)"


@pytest.fixture
def settings(postgres: PostgresServer) -> Settings:
    name = new_tenant()
    connection = Connection(Address.parse(postgres.settings.postgres))
    connection.script(f"CREATE DATABASE {name}")
    connection.close()
    return replace(
        postgres.settings, postgres=f"{postgres.settings.postgres.rpartition('/')[0]}/{name}"
    )


def run(settings: Settings, *scripts: str) -> list[Row]:
    connection = Connection(Address.parse(settings.postgres))
    found: list[Row] = []
    for script in scripts:
        found = connection.script(script)
    connection.close()
    return found


def test_what_was_in_the_ledger_before_is_counted(settings: Settings, tmp_path: Path) -> None:
    for one in SCHEMAS.glob("000[1-8]_*.sql"):
        shutil.copy(one, tmp_path)
    migrate(settings, tmp_path)
    run(settings, ABOVE, ADD.format(FIRST))
    assert migrate(settings, SCHEMAS)[0] == "0009_series_size.sql"
    assert run(settings, SIZES) == [
        ["a", "1.1", 2, 30], ["a", "1.2", 1, 5], ["b", "1.1", 1, 7], ["b", "1.2", 0, 0],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "sizes"),
    [
        (ADD.format("('a', '1.1', '1', 99), ('b', '1.2', '1', 8), ('b', '1.2', '2', 9)"),
         [[2, 30], [1, 5], [1, 7], [2, 17]]),
        ("UPDATE instance SET file_size = 11 WHERE file_size = 10",
         [[2, 31], [1, 5], [1, 7], [0, 0]]),
        ("UPDATE instance SET revision = 1", [[2, 30], [1, 5], [1, 7], [0, 0]]),
        ("UPDATE instance SET series_instance_uid = '1.2' WHERE sop_instance_uid = '2'",
         [[1, 10], [2, 25], [1, 7], [0, 0]]),
        ("DELETE FROM instance WHERE sop_instance_uid = '1'",
         [[1, 20], [0, 0], [0, 0], [0, 0]]),
        ("DELETE FROM instance WHERE sop_instance_uid = '9'",
         [[2, 30], [1, 5], [1, 7], [0, 0]]),
        ("WITH gone AS (DELETE FROM instance WHERE tenant_id = 'a' RETURNING 1) "
         + ADD.format("('b', '1.2', '1', 8)"),
         [[0, 0], [0, 0], [1, 7], [1, 8]]),
    ],
)  # fmt: skip
def test_whatever_changes_the_ledger_is_counted(
    settings: Settings, statement: str, sizes: list[list[int]]
) -> None:
    migrate(settings, SCHEMAS)
    run(settings, ABOVE, ADD.format(FIRST), statement)
    assert [row[2:] for row in run(settings, SIZES)] == sizes
    # Nor does a transaction that is rolled back leave anything.
    run(settings, "BEGIN", "DELETE FROM instance", "ROLLBACK")
    assert [row[2:] for row in run(settings, SIZES)] == sizes
