"""The warehouse's file: tables, loads and labels, on DuckDB.

One process owns the file. Reads run beside each other, each on its own cursor;
loads commit one at a time, their rows and their label in the same transaction,
so a label is known if and only if its rows are there, whatever dies when.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from pacsless.columns import TABLES, Table, duckdb_type
from pacsless.warehouse.labels import Labels, Transaction
from pacsless.warehouse.schema import DATABASE, create


class Store:
    """The warehouse's file, opened.

    Parameters
    ----------
    folder
        Where it lies; made if missing.
    memory_limit
        DuckDB's, ``512MB``; beyond it, queries spill into the folder.
    threads
        Threads a query may use.
    """

    def __init__(self, folder: Path, memory_limit: str = "512MB", threads: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(folder / "spill"),
        }
        self._connection = duckdb.connect(str(folder / "warehouse.duckdb"), config=config)
        self._writing = threading.Lock()
        self.tables: dict[str, Table] = {table.name: table for table in TABLES}
        try:
            create(self._connection)
            # Queries come from outside: no files, no network, no extensions.
            self._connection.execute("SET enable_external_access = false")
            self._connection.execute("SET lock_configuration = true")
            committed = self._connection.execute(
                "SELECT id, label, 'VISIBLE', finished_at FROM _internal.labels ORDER BY id"
            ).fetchall()
        except BaseException:
            self._connection.close()
            raise
        self.labels = Labels(Transaction(*one) for one in committed)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own for a session; close it when the session ends."""
        return self._connection.cursor()

    def load(self, table: Table, rows: list[list[Any]], transaction: Transaction) -> None:
        """Merge rows into a table and record the label, in one transaction.

        Of rows with the same key the one with the largest sequence value stays,
        and the last of those; a row already there yields unless its own is larger.
        """
        values = [list(column) for column in zip(*rows, strict=True)]
        with self._writing, self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                if rows:
                    cursor.execute(_merge(table, rows), values)
                cursor.execute(
                    "INSERT INTO _internal.labels VALUES (?, ?, ?)",
                    [transaction.id, transaction.label, time.time()],
                )
                cursor.execute("DELETE FROM _internal.labels WHERE id < ?", [self.labels.oldest()])
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Write everything into the file and close it."""
        with self._writing:
            self._connection.execute("CHECKPOINT")
            self._connection.close()


def _merge(table: Table, rows: list[list[Any]]) -> str:
    # Parameters are whole columns: one list each, whatever the number of rows.
    columns = ", ".join(
        f'unnest(${number}::{duckdb_type(column)}[]) AS "{column.name}"'
        for number, column in enumerate(table.columns, 1)
    )
    keys = ", ".join(f'"{name}"' for name in table.key)
    newest = f'"{table.sequence}" DESC, ' if table.sequence else ""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    match = " AND ".join(f't."{name}" = s."{name}"' for name in table.key)
    if table.partition:
        # Implied by the keys; lets DuckDB skip the row groups of other dates.
        at = table.key.index(table.partition)
        dates = [row[at] for row in rows]
        match += f" AND t.\"{table.partition}\" BETWEEN DATE '{min(dates)}' AND DATE '{max(dates)}'"
    guard = f' AND s."{table.sequence}" >= t."{table.sequence}"' if table.sequence else ""
    changes = ", ".join(
        f'"{column.name}" = s."{column.name}"'
        for column in table.columns
        if column.name not in table.key
    )
    sources = ", ".join(f's."{column.name}"' for column in table.columns)
    # Only names of our own tables are put in; every value is a parameter.
    return (
        f'MERGE INTO {DATABASE}."{table.name}" AS t USING ('  # noqa: S608
        f"SELECT * FROM (SELECT {columns}, unnest(range({len(rows)})) AS _line) "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest}_line DESC) = 1"
        f") AS s ON {match} "
        f"WHEN MATCHED{guard} THEN UPDATE SET {changes} "
        f"WHEN NOT MATCHED THEN INSERT ({names}) "
        f"VALUES ({sources})"
    )
