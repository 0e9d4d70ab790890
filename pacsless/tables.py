"""``pacsless tables``: the warehouse's tables in an Apache Doris of somebody's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Final

import click

from pacsless.columns import TABLES, doris_ddl
from pacsless.errors import PacslessError
from pacsless.settings import InvalidSetting, Settings
from pacsless.warehouse_sql import WarehouseSql

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class OtherTables(PacslessError):
    """A table is there and is not ours, or not of this version."""


@click.command()
@click.option("--replication", default=1, show_default=True, type=click.IntRange(1, 32),
              help="Copies of what is made; 3 where there are three back ends.")  # fmt: skip
def tables(replication: int) -> None:
    """Make the warehouse's tables that are missing in Doris, and its database.

    Where it is, PACSLESS_DORIS_MYSQL and PACSLESS_DORIS_USER, _PASSWORD and
    _DATABASE say. What is there is left as it is.
    """
    create_tables(Settings.from_environ(), replication, click.echo)


def create_tables(
    settings: Settings, replication: int = 1, on_made: Callable[[str], None] = lambda name: None
) -> list[str]:
    """Make the database and the tables that are missing.

    Parameters
    ----------
    settings
        Where Doris is.
    replication
        Copies of every tablet of a table that is made now.
    on_made
        Told the name of each table when it is made.

    Returns
    -------
    list of str
        The tables that were made now.

    Raises
    ------
    Unavailable
        If Doris does not answer, or refuses.
    OtherTables
        If a table that is there lacks columns.
    """
    database = settings.doris_database
    if not _NAME.fullmatch(database):
        raise InvalidSetting(
            "setting", "PACSLESS_DORIS_DATABASE must be a word of letters, digits and _"
        )
    with closing(WarehouseSql.from_settings(replace(settings, doris_database=""))) as sql:
        if database not in _first_column(sql, "SHOW DATABASES"):
            sql.define(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    with closing(WarehouseSql.from_settings(settings)) as sql:
        there = _first_column(sql, "SHOW TABLES")
        made = []
        for table in TABLES:
            if table.name not in there:
                sql.define(doris_ddl(table, replication).rstrip().removesuffix(";"))
                made.append(table.name)
                on_made(table.name)
        lacking = {}
        for table in TABLES:
            if table.name in there:
                columns = _first_column(sql, f"SHOW COLUMNS FROM `{table.name}`")
                lacking[table.name] = [one.name for one in table.columns if one.name not in columns]
    told = "; ".join(f"{name} lacks {', '.join(some)}" for name, some in lacking.items() if some)
    if told:
        raise OtherTables(
            "columns",
            f"the database {database} has tables of before, or of somebody else: {told}. "
            "CHANGELOG.md has the ALTER TABLE for each column that was added",
        )
    return made


def _first_column(sql: WarehouseSql, question: str) -> set[str]:
    return {str(row[0]) for row in sql.ask(question).rows}
