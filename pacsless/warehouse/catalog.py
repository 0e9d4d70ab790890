"""SHOW, DESCRIBE and SET: what MySQL clients ask before and beside queries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pacsless.columns import Table, doris_ddl
from pacsless.warehouse.dialect import SqlError, unsupported
from pacsless.warehouse.packets import Field
from pacsless.warehouse.schema import DATABASE

VERSION: Final = "8.0.32-pacsless-warehouse"
"""What the greeting and ``version()`` say. MySQL's number, as Doris also shows it."""

VARIABLES: Final[dict[str, str | int]] = {
    "auto_increment_increment": 1,
    "autocommit": 1,
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_database": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8mb4_0900_bin",
    "collation_database": "utf8mb4_0900_bin",
    "collation_server": "utf8mb4_0900_bin",
    "default_storage_engine": "olap",
    "enable_unique_key_partial_update": 0,
    "group_commit": "off_mode",
    "init_connect": "",
    "interactive_timeout": 3600,
    "license": "Apache License, Version 2.0",
    "lower_case_table_names": 0,
    "max_allowed_packet": 16777216,
    "net_buffer_length": 16384,
    "net_read_timeout": 600,
    "net_write_timeout": 600,
    "performance_schema": 0,
    "query_cache_size": 0,
    "query_cache_type": 0,
    "query_timeout": 900,
    "sql_mode": "ONLY_FULL_GROUP_BY",
    "sql_select_limit": 9223372036854775807,
    "system_time_zone": "UTC",
    "time_zone": "UTC",
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": 1,
    "tx_isolation": "REPEATABLE-READ",
    "tx_read_only": 1,
    "version": VERSION,
    "version_comment": "Pacsless warehouse, a Doris-compatible subset on DuckDB",
    "wait_timeout": 28800,
}
"""Session variables, and what they say until they are set."""


@dataclass(slots=True)
class Result:
    """Rows to answer with; without fields, just success."""

    fields: Sequence[Field] = ()
    rows: Iterable[Sequence[Any]] = ()


@dataclass(slots=True)
class Session:
    """What a connection has set."""

    user: str
    connection_id: int
    database: str | None = None
    variables: dict[str, str | int] = field(default_factory=lambda: dict(VARIABLES))

    def value(self, name: str) -> str | int | None:
        """Value of ``@@name``, or of a session function."""
        if name.startswith("@@"):
            if name[2:] not in self.variables:
                raise SqlError(f"Unknown system variable '{name[2:66]}'", 1193)
            return self.variables[name[2:]]
        return {
            "database": self.database,
            "user": f"'{self.user}'@'%'",
            "connection_id": self.connection_id,
            "version": VERSION,
        }[name]


_NAME: Final = r"`?([\w$]+)`?"
_LIKE: Final = r"(?:\s+(?:LIKE|WHERE\s+`?\w+`?\s*(?:=|LIKE))\s*'([^']*)')?"
_FROM_TABLE: Final = rf"(?:FROM|IN)\s+(?:{_NAME}\s*\.\s*)?{_NAME}"
_FROM_DATABASE: Final = rf"(?:\s+(?:FROM|IN)\s+{_NAME})?"


def _compile(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(" ", r"\s+"), re.IGNORECASE)


_DATABASES: Final = _compile(rf"SHOW (?:DATABASES|SCHEMAS){_LIKE}")
_TABLES: Final = _compile(rf"SHOW (FULL )?TABLES{_FROM_DATABASE}{_LIKE}")
_COLUMNS: Final = _compile(rf"SHOW (FULL )?(?:COLUMNS|FIELDS) {_FROM_TABLE}{_FROM_DATABASE}{_LIKE}")
_DESCRIBE: Final = _compile(rf"(?:DESCRIBE|DESC|EXPLAIN) (?:{_NAME}\s*\.\s*)?{_NAME}")
_CREATE: Final = _compile(rf"SHOW CREATE TABLE (?:{_NAME}\s*\.\s*)?{_NAME}")
_INDEX: Final = _compile(rf"SHOW (?:INDEX|INDEXES|KEYS) {_FROM_TABLE}{_FROM_DATABASE}")
_STATUS: Final = _compile(rf"SHOW TABLE STATUS{_FROM_DATABASE}{_LIKE}")
_VARIABLES: Final = _compile(rf"SHOW (?:GLOBAL |SESSION |LOCAL )?VARIABLES{_LIKE}")
_EMPTY: Final = _compile(r"SHOW (?:WARNINGS|ERRORS|STATUS|PROCEDURE STATUS|FUNCTION STATUS)\b.*")
_USE: Final = _compile(rf"USE (?:internal\s*\.\s*)?{_NAME}")
_SET: Final = _compile(r"SET (.+)")
_NOTHING: Final = _compile(
    r"BEGIN|START TRANSACTION.*|COMMIT|ROLLBACK|SET NAMES .*|SET CHARACTER SET .*"
    r"|SET (?:SESSION |GLOBAL )?TRANSACTION .*"
)
_ASSIGNMENT: Final = re.compile(
    r"(?:@@)?(?:(?:SESSION|LOCAL|@@SESSION)(?:\s+|\.))?(\w+)\s*:?=\s*"
    r"('(?:[^']*)'|\"(?:[^\"]*)\"|-?\w+)",
    re.IGNORECASE,
)


def answer(statement: str, session: Session, tables: Mapping[str, Table]) -> Result | None:
    """Answer a statement that is no query; None if it is for somebody else.

    Raises
    ------
    SqlError
        If it names what is not there, or is a SHOW or SET that is not known.
    """
    if _NOTHING.fullmatch(statement):
        return Result()
    if found := _USE.fullmatch(statement):
        session.database = database_named(found[1])
        return Result()
    if found := _SET.fullmatch(statement):
        return _set(found[1], session)
    if found := _DATABASES.fullmatch(statement):
        return _list("Database", ("information_schema", DATABASE), found[1])
    if found := _TABLES.fullmatch(statement):
        return _tables(found, session, tables)
    if found := _COLUMNS.fullmatch(statement):
        table = _table(found[4] or found[2] or session.database, found[3], tables)
        return _columns(table, full=bool(found[1]), like=found[5])
    if found := _DESCRIBE.fullmatch(statement):
        return _columns(_table(found[1] or session.database, found[2], tables))
    if found := _CREATE.fullmatch(statement):
        table = _table(found[1] or session.database, found[2], tables)
        names = Field("Table"), Field("Create Table")
        return Result(names, [(table.name, doris_ddl(table).rstrip().rstrip(";"))])
    if found := _INDEX.fullmatch(statement):
        return _indexes(_table(found[3] or found[1] or session.database, found[2], tables))
    if found := _STATUS.fullmatch(statement):
        database_named(found[1] or session.database or DATABASE)
        rows = [
            (t.name, "Doris", t.description) for t in tables.values() if _like(t.name, found[2])
        ]
        return Result((Field("Name"), Field("Engine"), Field("Comment")), rows)
    if found := _VARIABLES.fullmatch(statement):
        shown = [(k, str(v)) for k, v in session.variables.items() if _like(k, found[1])]
        return Result((Field("Variable_name"), Field("Value")), shown)
    if _EMPTY.fullmatch(statement):
        return Result((Field("Variable_name"), Field("Value")), [])
    if re.match(r"(SHOW|EXPLAIN|DESCRIBE|DESC|SET|USE)\b", statement, re.IGNORECASE):
        raise unsupported(" ".join(statement.split()[:3])[:64])
    return None


def database_named(name: str) -> str:
    """The database of that name.

    Raises
    ------
    SqlError
        If there is none.
    """
    for known in (DATABASE, "information_schema"):
        if name == known:
            return known
    raise SqlError(f"Unknown database '{name[:64]}'", 1049, "42000")


def _table(database: str | None, name: str, tables: Mapping[str, Table]) -> Table:
    if database is None:
        raise SqlError("No database selected", 1046, "3D000")
    if database_named(database) != DATABASE or name not in tables:
        raise SqlError(f"Unknown table '{name[:64]}'", 1146, "42S02")
    return tables[name]


def _tables(found: re.Match[str], session: Session, tables: Mapping[str, Table]) -> Result:
    database = found[2] or session.database
    if database is None:
        raise SqlError("No database selected", 1046, "3D000")
    there = tuple(tables) if database_named(database) == DATABASE else ()
    result = _list(f"Tables_in_{database}", there, found[3])
    if found[1]:
        rows = [(*one, "BASE TABLE") for one in result.rows]
        return Result((*result.fields, Field("Table_type")), rows)
    return result


def _columns(table: Table, *, full: bool = False, like: str | None = None) -> Result:
    names = ["Field", "Type", "Null", "Key", "Default", "Extra"]
    rows: list[tuple[str | None, ...]] = []
    for column in table.columns:
        if not _like(column.name, like):
            continue
        is_key = column.name in table.key
        null = "YES" if column.nullable else "NO"
        # Doris says true and false where MySQL says PRI, and NONE of values.
        key = "true" if is_key else "false"
        row = (
            column.name,
            column.type.lower(),
            null,
            key,
            column.default,
            "" if is_key else "NONE",
        )
        rows.append((*row, column.description) if full else row)
    return Result([Field(name) for name in (*names, *(["Comment"] if full else []))], rows)


def _indexes(table: Table) -> Result:
    names = ("Table", "Non_unique", "Key_name", "Column_name", "Index_type")
    rows = [(table.name, "1", f"i_{name}", name, "INVERTED") for name in table.indexes]
    return Result([Field(name) for name in names], rows)


def _list(title: str, names: Iterable[str], like: str | None) -> Result:
    return Result([Field(title)], [(name,) for name in names if _like(name, like)])


def _like(name: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), name, re.IGNORECASE) is not None


def _set(text: str, session: Session) -> Result:
    at = 0
    changes: dict[str, str | int] = {}
    while at < len(text):
        found = _ASSIGNMENT.match(text, at)
        if not found:
            raise unsupported("this SET")
        name, value = found[1].lower(), found[2]
        if name not in session.variables:
            raise SqlError(f"Unknown system variable '{name[:64]}'", 1193)
        if name == "time_zone" and value.strip("'\"").upper() not in ("UTC", "+00:00", "SYSTEM"):
            # Times are kept and shown in UTC; another zone would be ignored silently.
            raise unsupported("a time_zone other than UTC")
        bare = value.strip("'\"")
        changes[name] = int(bare) if re.fullmatch(r"-?\d{1,18}", value) else bare
        rest = re.compile(r"\s*(?:,\s*|$)").match(text, found.end())
        if not rest:
            raise unsupported("this SET")
        at = rest.end()
    session.variables |= changes
    return Result()
