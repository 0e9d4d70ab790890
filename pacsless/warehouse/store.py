"""The warehouse's file: tables, loads and labels, on DuckDB.

One process owns the file. Reads run beside each other, each on its own cursor;
loads commit one at a time, their rows and their label in the same transaction,
so a label is known if and only if its rows are there, whatever dies when.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
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
        self._statements: dict[str, duckdb.Statement] = {}
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
        chosen = newest(table, rows)
        with self._writing, self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                if chosen:
                    cursor.execute(self._statement(table), _values(table, chosen))
                cursor.execute(
                    "INSERT INTO _internal.labels VALUES (?, ?, ?)",
                    [transaction.id, transaction.label, time.time()],
                )
                cursor.execute("DELETE FROM _internal.labels WHERE id < ?", [self.labels.oldest()])
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise

    def _statement(self, table: Table) -> duckdb.Statement:
        """Parse the merge of a table once: it has hundreds of expressions."""
        statement = self._statements.get(table.name)
        if statement is None:
            (statement,) = self._connection.extract_statements(_merge(table))
            self._statements[table.name] = statement
        return statement

    def close(self) -> None:
        """Write everything into the file and close it."""
        with self._writing:
            self._connection.execute("CHECKPOINT")
            self._connection.close()


def newest(table: Table, rows: Iterable[list[Any]]) -> list[list[Any]]:
    """Of rows with the same key, the last of those with the largest sequence value."""
    names = [column.name for column in table.columns]
    key = [names.index(name) for name in table.key]
    sequence = names.index(table.sequence) if table.sequence else None
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        of = tuple(row[at] for at in key)
        before = found.get(of)
        if before is None or sequence is None or row[sequence] >= before[sequence]:
            found[of] = row
    return list(found.values())


def _values(table: Table, rows: list[list[Any]]) -> list[Any]:
    """Parameters of `_merge`: whole columns, whatever the number of rows, then the dates."""
    values: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    if table.partition:
        dates = values[[column.name for column in table.columns].index(table.partition)]
        values += [min(dates), max(dates)]
    return values


def _merge(table: Table) -> str:
    columns = ", ".join(
        f'unnest(${number}::{duckdb_type(column)}[]) AS "{column.name}"'
        for number, column in enumerate(table.columns, 1)
    )
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    match = " AND ".join(f't."{name}" = s."{name}"' for name in table.key)
    if table.partition:
        # Implied by the keys; lets DuckDB skip the row groups of other dates.
        first = len(table.columns) + 1
        match += f' AND t."{table.partition}" BETWEEN ${first}::DATE AND ${first + 1}::DATE'
    guard = f' AND s."{table.sequence}" >= t."{table.sequence}"' if table.sequence else ""
    changes = ", ".join(
        f'"{column.name}" = s."{column.name}"'
        for column in table.columns
        if column.name not in table.key
    )
    sources = ", ".join(f's."{column.name}"' for column in table.columns)
    # Only names of our own tables are put in; every value is a parameter.
    return (
        f'MERGE INTO {DATABASE}."{table.name}" AS t '  # noqa: S608
        f"USING (SELECT {columns}) AS s ON {match} "
        f"WHEN MATCHED{guard} THEN UPDATE SET {changes} "
        f"WHEN NOT MATCHED THEN INSERT ({names}) "
        f"VALUES ({sources})"
    )
