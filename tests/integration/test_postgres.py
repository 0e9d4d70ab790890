"""Transactions and migrations on a real PostgreSQL: what is retried, kept and told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless.errors import PacslessError, Unavailable, Unprocessable
from pacsless.postgres import Address, Database, DatabaseFailed, Transaction, migrate
from pacsless.postgres.connection import Connection
from pacsless.settings import InvalidSetting, Settings
from tests.instances import new_tenant
from tests.services import REPOSITORY, PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    made = Database.from_settings(postgres.settings, size=2)
    yield made
    made.close()


def backend(transaction: Transaction) -> int:
    return int(transaction.run("SELECT pg_backend_pid()")[0][0])


RAISE = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_conflicts_are_run_again(database: Database, state: str) -> None:
    attempts = []

    def work(transaction: Transaction) -> str:
        attempts.append(1)
        if len(attempts) < 3:
            transaction.run(RAISE.format(state))
        return "done"

    assert database.run(work) == "done"
    assert len(attempts) == 3


def test_who_loses_a_deadlock_tries_again(database: Database) -> None:
    """Two transactions that want two rows in opposite orders: one is ended by PostgreSQL."""
    database.run(lambda t: t.run("CREATE TABLE crossing (n int PRIMARY KEY, sum int)"))
    database.run(lambda t: t.run("INSERT INTO crossing VALUES (1, 0), (2, 0)"))
    both_hold_one = threading.Barrier(2)
    attempts: list[int] = []
    failures: list[BaseException] = []

    def cross(first: int, second: int) -> None:
        tried = 0

        def work(transaction: Transaction) -> None:
            nonlocal tried
            tried += 1
            attempts.append(first)
            add = "UPDATE crossing SET sum = sum + 1 WHERE n = :n"
            transaction.run(add, n=first)
            if tried == 1:
                both_hold_one.wait()
            transaction.run(add, n=second)

        try:
            database.run(work)
        except BaseException as error:  # noqa: BLE001  told by the test
            failures.append(error)

    threads = [threading.Thread(target=cross, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(attempts) == 3
    assert database.run(lambda t: t.run("SELECT sum FROM crossing")) == [[2], [2]]
    database.run(lambda t: t.run("DROP TABLE crossing"))


def test_contention_without_end_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable, match="contended"):
        database.run(lambda transaction: transaction.run(RAISE.format("40001")))


def test_a_lost_connection_is_replaced_once(database: Database) -> None:
    backends = []

    def work(transaction: Transaction) -> int:
        backends.append(backend(transaction))
        if len(backends) == 1:
            transaction.run("SELECT pg_terminate_backend(pg_backend_pid())")
        return backends[-1]

    assert database.run(work) != backends[0]

    def always(transaction: Transaction) -> None:
        transaction.run("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable, match="does not answer"):
        database.run(always)
    assert database.run(backend)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("22021", Unprocessable),
        ("54000", Unprocessable),
        ("53100", Unavailable),
        ("25006", Unavailable),
        ("42P01", Unavailable),
        ("42703", Unavailable),
        ("42883", Unavailable),
        ("42P10", Unavailable),
        ("23505", DatabaseFailed),
        ("42601", DatabaseFailed),
    ],
)
def test_states_have_fates_and_the_connection_is_kept(
    database: Database, state: str, error: type[Exception]
) -> None:
    before = database.run(backend)
    with pytest.raises(error) as raised:
        database.run(lambda transaction: transaction.run(RAISE.format(state)))
    assert "RAISE" not in str(raised.value)
    assert database.run(backend) == before


def test_an_error_rolls_back(database: Database) -> None:
    database.run(lambda t: t.run("CREATE TABLE IF NOT EXISTS scratch (n int)"))

    def fail(transaction: Transaction) -> None:
        transaction.run("INSERT INTO scratch VALUES (1)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.run(fail)
    with database.transaction() as transaction:
        assert transaction.run("SELECT count(*) FROM scratch") == [[0]]
        transaction.run("INSERT INTO scratch VALUES (2)")
    assert database.run(lambda t: t.run("SELECT n FROM scratch")) == [[2]]
    database.run(lambda t: t.run("DROP TABLE scratch"))


def test_prepared_statements_survive_a_changed_table(database: Database) -> None:
    database.run(lambda t: t.run("CREATE TABLE changing (n int)"))
    try:
        assert database.run(lambda t: t.run("SELECT * FROM changing")) == []
        database.run(lambda t: t.run("ALTER TABLE changing ADD COLUMN m int"))
        assert database.run(lambda t: t.run("SELECT * FROM changing")) == []
    finally:
        database.run(lambda t: t.run("DROP TABLE changing"))


def test_more_statements_than_are_kept_prepared(database: Database) -> None:
    with database.transaction() as transaction:
        for number in range(150):
            assert transaction.run(f"SELECT {number}") == [[number]]


def test_threads_share_few_connections(database: Database) -> None:
    seen: set[int] = set()
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        for _ in range(5):
            seen.add(database.run(backend))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(seen) <= 2


def test_a_wrong_password_names_the_setting(postgres: PostgresServer) -> None:
    address = Address.parse(postgres.settings.postgres)
    url = f"postgresql://{address.user}:wrong@{address.host}:{address.port}/{address.database}"
    with pytest.raises(Unavailable, match="PACSLESS_POSTGRES") as raised:
        Database(Address.parse(url)).check()
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["mysql://h/d", "postgresql:///d", "postgresql://h:port/d", "postgresql://h/d?sslmode=maybe"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InvalidSetting) as raised:
        Address.parse(url)
    assert url not in str(raised.value)


def test_an_address_in_full() -> None:
    address = Address.parse("postgresql://u%40x:p%2Fw@db.example:5433/pacs?sslmode=verify-full")
    assert (address.user, address.password) == ("u@x", "p/w")
    assert (address.host, address.port, address.database) == ("db.example", 5433, "pacs")
    assert address.sslmode == "verify-full"


def test_migrations_run_once_and_are_never_changed(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    assert migrate(postgres.settings, REPOSITORY / "schemas" / "postgres") == []
    database = Database.from_settings(postgres.settings)
    names = database.run(lambda t: t.run("SELECT name FROM schema_migrations ORDER BY name"))
    assert [name for (name,) in names] == sorted(
        one.name for one in (REPOSITORY / "schemas" / "postgres").glob("*.sql")
    )
    broken = tmp_path / "9999_broken.sql"
    broken.write_text("CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(PacslessError):
        migrate(postgres.settings, tmp_path)
    assert database.run(lambda t: t.run("SELECT to_regclass('half')")) == [[None]]
    broken.unlink()
    changed = tmp_path / "0001_index.sql"
    changed.write_text("SELECT 1")
    with pytest.raises(DatabaseFailed, match="was changed"):
        migrate(postgres.settings, tmp_path)


def test_a_migration_may_take_as_long_as_it_takes(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_tenant()
    connection = Connection(Address.parse(postgres.settings.postgres))
    connection.script(f"CREATE DATABASE {name}")
    connection.close()
    settings = Settings(postgres=f"{postgres.settings.postgres.rpartition('/')[0]}/{name}")
    monkeypatch.setattr("pacsless.postgres.address.REPLY_SECONDS", 0.5)
    (tmp_path / "0001_slow.sql").write_text(
        "CREATE TABLE told AS SELECT current_setting('statement_timeout') AS timeout;"
        " SELECT pg_sleep(1);"
    )
    assert migrate(settings, tmp_path) == ["0001_slow.sql"]
    database = Database.from_settings(settings)
    assert database.run(lambda t: t.run("SELECT timeout FROM told")) == [["0"]]
    assert database.run(lambda t: t.run("SHOW statement_timeout")) == [["50s"]]
    database.close()


def test_a_folder_without_migrations_is_no_schema_that_is_up_to_date(tmp_path: Path) -> None:
    with pytest.raises(DatabaseFailed, match="no migrations"):
        migrate(Settings(), tmp_path / "schemas")
