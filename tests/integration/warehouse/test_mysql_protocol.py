"""Queries over the MySQL protocol, with real clients."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest

from pacsless.columns import TABLES
from pacsless.stream_load import StreamLoad
from pacsless.warehouse import Warehouse
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, require

PASSWORD = "s3cret"


def time(*parts: int) -> datetime:
    """A DATETIME, which has no zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc,arg-type]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with Warehouse(
        tmp_path_factory.mktemp("warehouse"), fe_port=0, be_port=0, mysql_port=0, password=PASSWORD
    ) as running:
        load(running, [image(number) for number in range(10)], "fixture")
        yield running


def load(warehouse: Warehouse, rows: list[dict[str, Any]], label: str) -> None:
    StreamLoad(
        f"http://127.0.0.1:{warehouse.fe_port}",
        "pacsless",
        "root",
        PASSWORD,
        [f"127.0.0.1:{warehouse.be_port}"],
    ).load("dicom_image_meta", rows, label)


def image(number: int, sop: str = "1.2.3", **values: Any) -> dict[str, Any]:
    return {
        "created_date": "2026-01-31",
        "tenant_id": "default",
        "study_instance_uid": "1.2",
        "series_instance_uid": f"1.2.{number % 3}",
        "sop_instance_uid": f"{sop}.{number}",
        "event_seq": 1,
        "received_at": f"2026-01-31 10:00:0{number % 10}.500000",
        "is_deleted": False,
        "modality": "CT" if number % 3 else "MR",
        "rows": 512 + number,
        "columns": 512,
        "slice_thickness": None if number else 0.625,
        "dicom_json": {"00080060": {"vr": "CS", "Value": ["CT"]},
                       "00280010": {"vr": "US", "Value": [512 + number]}},
        **values,
    }  # fmt: skip


def connect(warehouse: Warehouse, **options: Any) -> pymysql.Connection[Any]:
    given = {"user": "root", "password": PASSWORD, "database": "pacsless", **options}
    return pymysql.connect(host="127.0.0.1", port=warehouse.mysql_port, **given)


@pytest.fixture
def cursor(warehouse: Warehouse) -> Iterator[pymysql.cursors.Cursor]:
    with connect(warehouse) as connection, connection.cursor() as found:
        yield found


QUERIES: list[tuple[str, Any]] = [
    ("select count(*) from dicom_image_meta", 10),
    ("select count(*) from internal.pacsless.dicom_image_meta where is_deleted = 0", 10),
    ("select max(`rows`) from dicom_image_meta where modality = 'CT' and columns = 512", 520),
    ("select sum(rows) from dicom_image_meta", 5165),
    ("select count(distinct modality, series_instance_uid) from dicom_image_meta", 3),
    ("select ndv(modality) from dicom_image_meta", 2),
    ("select percentile_approx(rows, 0.5) from dicom_image_meta", 516.5),
    ("select group_concat(distinct modality, ',' order by modality desc) from dicom_image_meta",
     "MR,CT"),
    ("select group_concat(modality, '; ' order by rows) from dicom_image_meta where rows < 515",
     "MR; CT; CT"),
    ("select get_json_string(dicom_json, '$.00080060.Value[0]') from dicom_image_meta limit 1",
     "CT"),
    (("select cast(json_extract(dicom_json, '$.00280010.Value[0]') as int) from dicom_image_meta"
     " order by 1 desc limit 1"), 521),
    ("select max(get_json_int(dicom_json, '$.00280010.Value[0]')) from dicom_image_meta", 521),
    ("select json_length(dicom_json) from dicom_image_meta limit 1", 2),
    ("select unix_timestamp('2024-01-01 00:00:00')", 1704067200),
    ("select from_unixtime(0)", "1970-01-01 00:00:00"),
    # Doris counts whole units, DuckDB boundaries.
    ("select timestampdiff(hour, '2024-01-01 10:30:00', '2024-01-01 12:29:00')", 1),
    ("select hours_diff('2024-01-01 12:29:00', '2024-01-01 10:30:00')", 1),
    ("select datediff('2024-01-02', '2024-01-01')", 1),
    # Sunday is the first day in Doris, and Monday the zeroth weekday.
    ("select dayofweek('2024-01-07')", 1),
    ("select weekday('2024-01-07')", 6),
    ("select quarter('2024-05-07')", 2),
    ("select last_day('2024-02-01')", date(2024, 2, 29)),
    ("select date_sub('2024-01-01', interval 1 day)", date(2023, 12, 31)),
    ("select min(created_date + interval 1 month) from dicom_image_meta", date(2026, 2, 28)),
    ("select min(date_add(received_at, interval 1 hour)) from dicom_image_meta",
     time(2026, 1, 31, 11, 0, 0, 500000)),
    ("select date_format(min(received_at), '%Y-%m-%d %H:%i:%s') from dicom_image_meta",
     "2026-01-31 10:00:00"),
    ("select date_trunc(min(received_at), 'hour') from dicom_image_meta",
     time(2026, 1, 31, 10)),
    ("select now() <= now() and curdate() = date(now())", 1),
    # Bytes, not characters.
    ("select length('é')", 2),
    ("select char_length('é')", 1),
    ("select cast(3.7 as int)", 3),
    ("select cast('abc' as int)", None),
    ("select 7 div 2", 3),
    ("select 1 / 0", None),
    ("select 'axb' like 'a\\_b'", 0),
    ("select 'a_b' like 'a\\_b'", 1),
    ("select 'a' like 'A'", 0),
    ("select regexp_extract('x12y', '([a-z])([0-9]+)', 2)", "12"),
    ("select substring_index('1.2.3.4', '.', -2)", "3.4"),
    ("select locate('b', 'abc')", 2),
    ("select concat('a', null)", None),
    ("select stddev(rows) from dicom_image_meta where rows in (512, 514)", 1.0),
    (("with x as (select modality m, count(*) n from dicom_image_meta group by 1)"
     " select max(n) from x"), 6),
    (("select count(*) from dicom_image_meta a left anti join dicom_state_meta b"
     " on a.study_instance_uid = b.study_instance_uid"), 10),
    (("select a.modality from dicom_image_meta a join (select max(rows) m from dicom_image_meta) b"
     " on a.rows = b.m"), "MR"),
    (("select rn from (select row_number() over (order by rows desc) rn from dicom_image_meta) t"
     " order by rn limit 9, 1"), 10),
    (("select count(*) from information_schema.columns where table_schema = 'pacsless'"
     " and table_name = 'wado_access_log'"), 16),
    ("select @@max_allowed_packet", 16777216),
    ("select database()", "pacsless"),
    ("select 1 from dual", 1),
    ("/* a comment */ -- and another\n select 1;", 1),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "value"), QUERIES)
def test_queries_mean_what_they_mean_in_doris(
    cursor: pymysql.cursors.Cursor, sql: str, value: Any
) -> None:
    cursor.execute(sql)
    row = cursor.fetchone()
    assert row is not None
    assert row[0] == value
    assert type(row[0]) is type(value)


@pytest.mark.parametrize(
    "sql",
    [
        "insert into dicom_image_meta (tenant_id) values ('x')",
        "update dicom_image_meta set rows = 1",
        "delete from dicom_image_meta",
        "truncate table dicom_image_meta",
        "drop table dicom_image_meta",
        "create table x (a int)",
        "alter table dicom_image_meta drop column rows",
        "copy dicom_image_meta to 'x.csv'",
        "attach 'x.db'",
        "pragma database_list",
        "set memory_limit = '1TB'",
        "set time_zone = '+02:00'",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from `/etc/passwd`",
        "select * from duckdb_settings()",
        "select * from _internal.labels",
        "select * from doris_information_schema.tables",
        "select * from duckdb_tables",
        "select getenv('HOME')",
        "select sleep(1)",
        "select week('2024-01-01')",
        "select group_concat(modality) from dicom_image_meta",
        "select modality from dicom_image_meta where modality match_any 'CT'",
        "select modality, count(*) from dicom_image_meta group by modality with rollup",
        "select * from dicom_image_meta for update",
        "select * from dicom_image_meta tablesample (1 rows)",
        "select 1; select 2",
        "select @variable",
        "select @@nothere",
        "select from",
        "select (((",
        "select date_add(, interval 1 hour)",
        "show table",
        "select " + "(" * 3000 + "1" + ")" * 3000,
        "select nothere from dicom_image_meta",
        "select * from nothere",
        "select * from nowhere.dicom_image_meta",
        "select rows, count(*) from dicom_image_meta group by modality",
        "with recursive x as (select 1) select * from x",
        "explain select 1",
        "show grants",
        "use nowhere",
        "kill 999999",
        "describe nothere",
        "",
        ";",
    ],
)
def test_everything_else_is_refused_and_the_session_goes_on(
    cursor: pymysql.cursors.Cursor, sql: str
) -> None:
    with pytest.raises(pymysql.MySQLError):
        cursor.execute(sql)
    cursor.execute("select count(*) from dicom_image_meta")
    assert cursor.fetchone() == (10,)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select count(*), COUNT( * ) from dicom_image_meta", ["count(*)", "COUNT( * )"]),
        ("select max(rows) , 'x', 1+1 from dicom_image_meta", ["max(rows)", "x", "1+1"]),
        ("select distinct upper(modality) from dicom_image_meta", ["upper(modality)"]),
        ("select modality m, rows from dicom_image_meta", ["m", "rows"]),
        ("select count(*) from dicom_image_meta union all select 1", ["count(*)"]),
        ("with x as (select count(*) n from dicom_image_meta) select max(n) from x", ["max(n)"]),
        ("select * from (select count(*) from dicom_image_meta) t", ["count(*)"]),
    ],
)
def test_columns_are_named_as_they_were_asked(
    cursor: pymysql.cursors.Cursor, sql: str, names: list[str]
) -> None:
    cursor.execute(sql)
    assert [one[0] for one in cursor.description or ()] == names


def test_types_of_results(cursor: pymysql.cursors.Cursor) -> None:
    cursor.execute(
        "select rows, slice_thickness, created_date, received_at, is_deleted, modality,"
        " cast(1.25 as decimal(10, 2)), null, true, sum(rows) over (), dicom_json"
        " from dicom_image_meta where sop_instance_uid = '1.2.3.0'"
    )
    row = cursor.fetchone()
    assert row is not None
    assert row[:10] == (
        512,
        0.625,
        date(2026, 1, 31),
        time(2026, 1, 31, 10, 0, 0, 500000),
        0,
        "MR",
        Decimal("1.25"),
        None,
        1,
        512,
    )
    assert row[10].startswith('{"00080060"')


def test_a_study_list_by_sql(cursor: pymysql.cursors.Cursor) -> None:
    cursor.execute(
        "SELECT modality, COUNT(*) AS n FROM dicom_image_meta GROUP BY modality ORDER BY n DESC"
    )
    assert cursor.fetchall() == (("CT", 6), ("MR", 4))


def test_show(cursor: pymysql.cursors.Cursor) -> None:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        cursor.execute(sql)
        return list(cursor.fetchall())

    names = [table.name for table in TABLES]
    assert ("pacsless",) in rows("SHOW DATABASES")
    assert rows("show schemas like 'pac%'") == [("pacsless",)]
    assert [one[0] for one in rows("SHOW TABLES")] == names
    assert rows("show full tables from pacsless like 'wado%'") == [
        ("wado_access_log", "BASE TABLE")
    ]
    assert rows("show tables from information_schema") == []
    columns = rows("SHOW FULL COLUMNS FROM dicom_image_meta FROM pacsless LIKE 'rows'")
    assert columns[0][:3] == ("rows", "int", "YES")
    assert rows("describe pacsless.dicom_state_meta")[0][0] == "tenant_id"
    [(_, ddl)] = rows("show create table `pacsless`.`wado_access_log`")
    assert re.search(r"UNIQUE KEY \(`accessed_date`, `tenant_id`, `request_id`\)", ddl)
    assert rows("show variables where variable_name = 'time_zone'") == [("time_zone", "UTC")]
    assert rows("show index from dicom_state_meta")[0][3] == "patient_id"
    assert len(rows("show table status")) == len(names)
    assert rows("show warnings") == []


def test_sessions_have_their_own_variables_and_database(warehouse: Warehouse) -> None:
    with connect(warehouse) as one, connect(warehouse, database=None) as other:
        with one.cursor() as cursor:
            cursor.execute("set session sql_mode = 'ANSI', @@autocommit = 0")
            cursor.execute("select @@sql_mode, @@autocommit")
            assert cursor.fetchone() == ("ANSI", 0)
        with other.cursor() as cursor:
            cursor.execute("select @@sql_mode, database()")
            assert cursor.fetchone() == ("ONLY_FULL_GROUP_BY", None)
            with pytest.raises(pymysql.MySQLError, match="No database selected"):
                cursor.execute("select * from dicom_image_meta")
            cursor.execute("select count(*) from pacsless.dicom_image_meta")
            assert cursor.fetchone() == (10,)
            other.select_db("pacsless")
            cursor.execute("select count(*) from dicom_image_meta")
            assert cursor.fetchone() == (10,)
            other.ping()
            other.begin()
            other.rollback()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00", b"\xff" * 4, b"GET / HTTP/1.1\r\n\r\n", b"\x05\x00\x00\x01hello",
     b"\x40\x00\x00\x01" + b"\xff" * 64, b"\x24\x00\x00\x01" + b"\x00\x82\x00\x00" + b"\xff" * 32],
)  # fmt: skip
def test_who_does_not_speak_the_protocol_is_let_go(warehouse: Warehouse, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", warehouse.mysql_port), timeout=30) as client:
        assert client.recv(4096)[4] == 10
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096)[4:5] in (b"", b"\xff")
    with connect(warehouse):
        pass


@pytest.mark.parametrize(
    "options", [{"password": "wrong"}, {"password": ""}, {"user": "nobody"}, {"database": "other"}]
)
def test_strangers_are_refused(warehouse: Warehouse, options: dict[str, str]) -> None:
    with pytest.raises(pymysql.OperationalError) as caught:
        connect(warehouse, **options)
    assert caught.value.args[0] in (1045, 1049)


def test_rows_above_sixteen_mebibytes_and_many_rows(warehouse: Warehouse) -> None:
    with connect(warehouse, max_allowed_packet=64 << 20) as connection:
        cursor = connection.cursor()
        texts = ", ".join(["lpad('x', 9000000, 'y')"] * 2)
        cursor.execute(f"select {texts}, 'end'")
        [row] = cursor.fetchall()
        assert [len(one) for one in row] == [9_000_000, 9_000_000, 3]
        product = " cross join ".join(f"dicom_image_meta {name}" for name in "abcd")
        cursor.execute(f"select a.rows from {product}")
        assert len(cursor.fetchall()) == 10_000


def test_a_query_can_be_killed(warehouse: Warehouse) -> None:
    names = [f"t{number}" for number in range(12)]
    endless = "select count(*) from {} where ({}) % 7 = 3".format(
        " cross join ".join(f"dicom_image_meta {name}" for name in names),
        " + ".join(f"{name}.rows" for name in names),
    )
    caught: list[BaseException] = []

    def run(connection: pymysql.Connection[Any]) -> None:
        try:
            connection.query(endless)
        except pymysql.MySQLError as error:
            caught.append(error)

    with connect(warehouse) as victim, connect(warehouse) as other:
        with victim.cursor() as cursor:
            cursor.execute("select connection_id()")
            [[number]] = cursor.fetchall()
        thread = threading.Thread(target=run, args=(victim,))
        thread.start()
        with other.cursor() as cursor:

            def killed() -> bool:
                cursor.execute(f"KILL QUERY {number}")
                return bool(caught)

            eventually(killed)
        thread.join(60)
    assert caught[0].args[0] == 1317


def test_eight_readers_beside_loads(warehouse: Warehouse) -> None:
    """Readers see whole batches: every study has as many rows as a batch has."""
    batches, size = 12, 200
    stop = threading.Event()
    problems: list[str] = []
    reads = [0] * 8

    def read(number: int) -> None:
        with connect(warehouse) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(
                    "select study_instance_uid, count(*), min(event_seq), max(event_seq)"
                    " from dicom_image_meta where tenant_id = 'busy' group by 1"
                )
                for study, count, low, high in cursor.fetchall():
                    if count != size or low != high:
                        problems.append(f"{study}: {count} rows, sequence {low} to {high}")
                reads[number] += 1

    def write(study: int) -> None:
        for seq in range(1, batches // 2 + 1):
            rows = [
                image(one, f"9.{study}", tenant_id="busy", study_instance_uid=f"9.{study}",
                      event_seq=seq)
                for one in range(size)
            ]  # fmt: skip
            load(warehouse, rows, f"busy-{study}-{seq}")

    readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    writers = [threading.Thread(target=write, args=(study,)) for study in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(120)
    stop.set()
    for thread in readers:
        thread.join(60)
    with warehouse.store.cursor() as cursor:
        query = "FROM pacsless.dicom_image_meta WHERE tenant_id = 'busy'"
        found = cursor.execute(f"SELECT count(*), min(event_seq) {query}").fetchall()
        cursor.execute(f"DELETE {query}")
    assert problems == []
    assert all(reads)
    assert found == [(2 * size, batches // 2)]


def mysql(port: int, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    require("mysql")
    command = ["mysql", "--no-defaults", "-h", "127.0.0.1", "-P", str(port), "-u", "root"]
    return subprocess.run(
        [*command, *([f"-p{password}"] if password else []), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_mariadb_client(warehouse: Warehouse) -> None:
    sql = "select modality, count(*) from dicom_image_meta group by modality order by 1"
    found = mysql(warehouse.mysql_port, "pacsless", "-e", f"{sql}; show tables like 'wado%'")
    assert found.stderr == ""
    assert found.stdout == (
        "modality\tcount(*)\nCT\t6\nMR\t4\nTables_in_pacsless\nwado_access_log\n"
    )
    # As a person starts it: with completion of names, which asks for every table's fields.
    found = mysql(warehouse.mysql_port, "pacsless", "--auto-rehash", "--table", "-e", "select 1")
    assert (found.returncode, found.stdout) == (
        0,
        "+------+\n| 1    |\n+------+\n|    1 |\n+------+\n",
    )
    found = mysql(warehouse.mysql_port, "-e", "select 1", password="wrong")
    assert (found.returncode, "Access denied" in found.stderr) == (1, True)


def test_the_server_as_a_process_until_sigterm(tmp_path: Path) -> None:
    front, back, port = free_ports(3)
    program = (
        "from pacsless.warehouse import run\n"
        f"run({str(tmp_path)!r}, fe_port={front}, be_port={back}, mysql_port={port})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
        )
        eventually(lambda: mysql(port, "-e", "select 1", password="").returncode == 0)
        return process

    process = start()
    client = StreamLoad(f"http://127.0.0.1:{front}", "pacsless", "root", "", [f"127.0.0.1:{back}"])
    client.load("dicom_image_meta", [image(1)], "process")
    idle = pymysql.connect(host="127.0.0.1", port=port, user="root", database="pacsless")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    idle.close()
    assert not (tmp_path / "warehouse.duckdb.wal").exists(), "the file was not closed cleanly"

    process = start()
    assert client.load("dicom_image_meta", [image(1)], "process").before
    client.load("dicom_image_meta", [image(2)], "killed")
    process.kill()
    process.communicate(timeout=60)

    process = start()
    assert client.load("dicom_image_meta", [image(2)], "killed").before
    found = mysql(
        port, "pacsless", "-N", "-e", "select count(*) from dicom_image_meta", password=""
    )
    assert found.stdout == "2\n"
    process.terminate()
    process.communicate(timeout=60)
