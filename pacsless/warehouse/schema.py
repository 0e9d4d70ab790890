"""Makes the schema of the warehouse's file, or brings it up to this version."""

from __future__ import annotations

from typing import Final

import duckdb

from pacsless.columns import TABLES, Table, duckdb_column, duckdb_ddl, duckdb_type
from pacsless.errors import PacslessError

DATABASE: Final = "pacsless"
INFORMATION: Final = "doris_information_schema"
"""Where queries for ``information_schema`` go: DuckDB's own shows DuckDB."""

INFORMATION_TABLES: Final = {
    "schemata": (
        "catalog_name",
        "schema_name",
        "default_character_set_name",
        "default_collation_name",
    ),
    "tables": (
        "table_catalog",
        "table_schema",
        "table_name",
        "table_type",
        "engine",
        "table_comment",
    ),
    "columns": (
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "column_default",
        "is_nullable",
        "data_type",
        "character_maximum_length",
        "column_type",
        "column_key",
        "extra",
        "column_comment",
    ),
    "views": ("table_catalog", "table_schema", "table_name", "view_definition"),
}


class SchemaConflict(PacslessError):
    """The file holds a table this version cannot use."""


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what is missing; doing it again changes nothing.

    Raises
    ------
    SchemaConflict
        If a column is there with another type.
    """
    run = connection.execute
    run(f"CREATE SCHEMA IF NOT EXISTS {DATABASE}")
    run("CREATE SCHEMA IF NOT EXISTS _internal")
    run(
        "CREATE TABLE IF NOT EXISTS _internal.labels (id BIGINT, label VARCHAR, finished_at DOUBLE)"
    )
    for table in TABLES:
        run(duckdb_ddl(table, DATABASE))
        _complete(connection, table)
    _describe(connection)


def _complete(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    there = dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = ? AND table_name = ?",
            [DATABASE, table.name],
        ).fetchall()
    )
    for column in table.columns:
        if column.name not in there:
            # DuckDB cannot add a constraint; loads check NOT NULL themselves.
            definition = duckdb_column(column).replace(" NOT NULL", "")
            connection.execute(f'ALTER TABLE {DATABASE}."{table.name}" ADD COLUMN {definition}')
        elif there[column.name] != duckdb_type(column):
            raise SchemaConflict(
                "schema-conflict",
                f"{table.name}.{column.name} is {there[column.name]} in the warehouse's file and "
                f"{duckdb_type(column)} in this version: delete the file and replay the topics",
            )


def _describe(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the tables that answer for ``information_schema``."""
    rows: dict[str, list[tuple[object, ...]]] = {
        "schemata": [
            ("internal", name, "utf8mb4", "utf8mb4_0900_bin")
            for name in ("information_schema", DATABASE)
        ],
        "tables": [
            ("internal", DATABASE, table.name, "BASE TABLE", "Doris", table.description)
            for table in TABLES
        ],
        "columns": [
            (
                "internal",
                DATABASE,
                table.name,
                column.name,
                position,
                column.default,
                "YES" if column.nullable else "NO",
                column.base_type.lower(),
                column.length if column.base_type == "VARCHAR" else None,
                column.type.lower(),
                "UNI" if column.name in table.key else "",
                "",
                column.description,
            )
            for table in TABLES
            for position, column in enumerate(table.columns, 1)
        ],
        "views": [],
    }
    numbers = {"ordinal_position", "character_maximum_length"}
    connection.execute(f"DROP SCHEMA IF EXISTS {INFORMATION} CASCADE")
    connection.execute(f"CREATE SCHEMA {INFORMATION}")
    for name, columns in INFORMATION_TABLES.items():
        types = ", ".join(f"{one} {'BIGINT' if one in numbers else 'VARCHAR'}" for one in columns)
        connection.execute(f"CREATE TABLE {INFORMATION}.{name} ({types})")
        statement = f"INSERT INTO {INFORMATION}.{name} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        if rows[name]:
            connection.executemany(statement, [list(row) for row in rows[name]])
