"""What was indexed before 0006_search.sql is found like what is indexed since."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from functions.extract_tags import sql
from functions.extract_tags.rows import as_json, series_row, study_row
from functions.extract_tags.tags import Description
from functions.qido_rs.attributes import Level
from functions.qido_rs.query import parse
from functions.qido_rs.sql import build
from pacsless.identity import SeriesIdentity
from pacsless.postgres import Database, Transaction, migrate
from pacsless.postgres.address import Address
from pacsless.postgres.connection import Connection
from tests.services import REPOSITORY, PostgresServer

SCHEMAS = REPOSITORY / "schemas" / "postgres"
NAMES = ["Müller^Zoë", "ŁUKASZ^Æsir", "山田^太郎=ヤマダ^タロウ", "قبّاني^لنزار", "Ελένη", "Doe^Jane"]


def test_rows_of_before_are_found(postgres: PostgresServer, tmp_path: Path) -> None:
    name = f"before_{tmp_path.name.replace('-', '_')}"
    connection = Connection(Address.parse(postgres.settings.postgres))
    connection.script(f"CREATE DATABASE {name}")
    connection.close()
    settings = replace(
        postgres.settings, postgres=f"{postgres.settings.postgres.rpartition('/')[0]}/{name}"
    )
    for one in SCHEMAS.glob("000[1-5]_*.sql"):
        shutil.copy(one, tmp_path)
    migrate(settings, tmp_path)
    database = Database.from_settings(settings)
    database.run(lambda t: t.run("INSERT INTO patient VALUES ('t', 'P', '', 0, '{}')"))
    for number, pn in enumerate(NAMES):
        _insert_as_before(database, f"1.{number}", pn)
    assert migrate(settings, SCHEMAS)[0] == "0006_search.sql"
    for number, pn in enumerate(NAMES):
        for group in pn.split("="):
            for asked in (group, f"*{group[1:3]}*", f"{group[:2]}*"):
                assert f"1.{number}" in _found(database, asked), asked
    assert _found(database, "muller*") == ["1.0"]
    assert _found(database, "*", modality="MR") == [f"1.{one}" for one in range(len(NAMES))]
    database.close()


def _insert_as_before(database: Database, study: str, pn: str) -> None:
    groups = dict(zip(("Alphabetic", "Ideographic"), pn.split("="), strict=False))
    described = Description("1", 1, {"00100010": {"vr": "PN", "Value": [groups]}})
    row = study_row(("t", study), described, ["P"]) | {"patient_id": "P"}
    # Folded, but with its accents and its own kana.
    row["patient_name"], row["patient_name_ideographic"] = (
        one.casefold() for one in [*pn.split("="), ""][:2]
    )
    columns = ", ".join(key for key in row if key != "modalities")
    of_series = Description("1", 1, {"00080060": {"vr": "CS", "Value": ["MR"]}})
    series = series_row(SeriesIdentity("t", study, f"{study}.1"), of_series, 1)

    def work(transaction: Transaction) -> None:
        transaction.run(
            f"INSERT INTO study ({columns}) SELECT {columns}"
            " FROM json_populate_recordset(NULL::study, CAST(:rows AS json))",
            rows=as_json([row]),
        )
        transaction.run(sql.INSERT_SERIES, rows=as_json([series]))

    database.run(work)


def _found(database: Database, name: str, modality: str = "*") -> list[str]:
    query = parse(Level.STUDIES, [("PatientName", name), ("ModalitiesInStudy", modality)])
    statement = build(query, "t")
    return [row[0] for row in database.run(lambda t: t.run(statement.text, **statement.parameters))]
