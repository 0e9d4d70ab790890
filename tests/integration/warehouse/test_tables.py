"""``pacsless tables`` with the stand-in, which has them, and with a server that has none.

The other one speaks the protocol as the stand-in does and keeps what it is told to
make; whether Doris takes the statements only a Doris can tell.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pacsless.cli import main
from pacsless.columns import TABLES, doris_ddl
from pacsless.warehouse import Warehouse, mysql
from pacsless.warehouse.dialect import SqlError
from pacsless.warehouse.packets import Field, Wire
from tests.ports import free_ports
from tests.services import REPOSITORY

SECRET = "s3cret-word"
NAMES = [table.name for table in TABLES]


class Empty(mysql.Server):
    """A server without databases, that keeps what it is told to make."""

    def __init__(self, folder: Path) -> None:
        self.databases: list[str] = ["information_schema"]
        self.tables: dict[str, str] = {}
        self.made: list[str] = []
        self.refuses = ""
        self.warehouse = Warehouse(folder, fe_port=0, be_port=0, mysql_port=0)
        super().__init__(("127.0.0.1", 0), self.warehouse.store, "root", SECRET)
        self.RequestHandlerClass = Session


class Session(mysql.Connection):
    """Answers the four statements there are."""

    def _login(self, wire: Wire, number: int) -> Any:
        known, mysql.database_named = mysql.database_named, self._known
        try:
            return super()._login(wire, number)
        finally:
            mysql.database_named = known

    def _known(self, name: str) -> str:
        assert isinstance(self.server, Empty)
        if name not in self.server.databases:
            raise SqlError(f"Unknown database '{name}'", 1049, "42000")
        return name

    def _query(self, wire: Wire, session: Any, cursor: Any, argument: bytes) -> None:
        server, sql = self.server, argument.decode()
        assert isinstance(server, Empty)
        rows: list[tuple[str, ...]] = []
        if sql == "SHOW DATABASES":
            rows = [(one,) for one in server.databases]
        elif sql == "SHOW TABLES":
            rows = [(one,) for one in server.tables]
        elif found := re.fullmatch(r"SHOW COLUMNS FROM `(\w+)`", sql):
            rows = [(one,) for one in re.findall(r"\n  `(\w+)`", server.tables[found[1]])]
        elif found := re.fullmatch(r"CREATE DATABASE IF NOT EXISTS `(\w+)`", sql):
            server.databases.append(found[1])
        elif found := re.match(r"CREATE TABLE IF NOT EXISTS `(\w+)`", sql):
            if server.refuses:
                raise SqlError(server.refuses)
            server.tables[found[1]] = sql
            server.made.append(sql)
        elif not sql.upper().startswith("SET "):
            raise AssertionError(sql)
        mysql._send(wire, [Field("name")] if rows else [], rows)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Empty]:
    with Empty(tmp_path) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
        server.disconnect()
        server.warehouse.stop()


def tables(port: int, *arguments: str, **settings: str) -> Result:
    environ = {
        "PACSLESS_DORIS_MYSQL": f"127.0.0.1:{port}",
        "PACSLESS_DORIS_PASSWORD": SECRET,
        **{f"PACSLESS_DORIS_{name}": text for name, text in settings.items()},
    }
    found = CliRunner(env=environ).invoke(main, ["tables", *arguments])
    assert SECRET not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found


def port_of(server: Empty) -> int:
    return int(server.server_address[1])


def test_where_all_are_there_nothing_is_made(warehouse: Warehouse) -> None:
    found = tables(warehouse.mysql_port, PASSWORD="")
    assert (found.exit_code, found.output) == (0, "")


def test_database_and_tables_are_made_once(empty: Empty) -> None:
    found = tables(port_of(empty))
    assert (found.exit_code, found.stdout.split()) == (0, NAMES)
    assert empty.databases == ["information_schema", "pacsless"]
    for statement, file in zip(
        empty.made, sorted((REPOSITORY / "schemas" / "doris").glob("*.sql")), strict=True
    ):
        assert file.read_text().partition("\n")[2] == f"{statement};\n"
    again = tables(port_of(empty))
    assert (again.exit_code, again.output) == (0, "")
    assert len(empty.made) == len(NAMES)


def test_what_is_missing_is_made_with_as_many_copies(empty: Empty) -> None:
    empty.databases.append("other")
    for table in TABLES[:-1]:
        empty.tables[table.name] = doris_ddl(table)
    found = tables(port_of(empty), "--replication", "3", DATABASE="other")
    assert (found.exit_code, found.stdout.split()) == (0, NAMES[-1:])
    assert '"replication_num" = "3"' in empty.made[0]
    assert empty.databases == ["information_schema", "other"]


def test_a_table_without_a_column_is_named(empty: Empty) -> None:
    empty.databases.append("pacsless")
    for table in TABLES:
        empty.tables[table.name] = doris_ddl(table)
    log = empty.tables["wado_access_log"]
    empty.tables["wado_access_log"] = re.sub(r"  `user_id`.*\n", "", log)
    found = tables(port_of(empty))
    assert (found.exit_code, found.stdout) == (1, "")
    assert "wado_access_log lacks user_id." in found.stderr
    assert "ALTER TABLE" in found.stderr


def test_a_refusal_is_told_in_doris_words(empty: Empty) -> None:
    empty.refuses = "errCode = 2, detailMessage = replication num should be less than 1"
    found = tables(port_of(empty), "--replication", "3")
    assert found.exit_code == 1
    assert "refuses (1105): errCode = 2, detailMessage = replication num" in found.stderr


def test_who_does_not_answer_is_named(empty: Empty) -> None:
    (nobody,) = free_ports(1)
    found = tables(nobody)
    assert found.exit_code == 1
    assert f"127.0.0.1:{nobody} does not answer" in found.stderr
    assert "PACSLESS_DORIS_MYSQL" in found.stderr
    found = tables(port_of(empty), PASSWORD="wrong")
    assert found.exit_code == 1
    assert "refuses PACSLESS_DORIS_USER or PACSLESS_DORIS_PASSWORD" in found.stderr
    found = tables(port_of(empty), DATABASE="a`b")
    assert found.exit_code == 1
    assert "PACSLESS_DORIS_DATABASE must be" in found.stderr
