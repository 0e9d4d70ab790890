"""PostgreSQL: connections, transactions, migrations; the only module that imports pg8000.

What goes wrong becomes one of our errors and never quotes a statement, a
parameter or the server's words, which may hold patient data: the SQLSTATE
(PostgreSQL manual, Appendix A) says enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection as Wire
from pg8000.native import PreparedStatement

from pacsless.errors import PacslessError, Unavailable, Unprocessable
from pacsless.settings import InvalidSetting, Settings

T = TypeVar("T")
Row = list[Any]

_CONNECT_SECONDS: Final = 5.0
_REPLY_SECONDS: Final = 60.0
_CONFLICT_ATTEMPTS: Final = 8
_PREPARED: Final = 64
_MIGRATION_LOCK: Final = 0x7061_6373  # "pacs"
_RETRIED: Final = {"40001", "40P01"}
# Insufficient resources, timeouts, read-only standby, wrong password or database,
# not migrated yet, broken: all end without us.
_DOWN: Final = re.compile(r"53...|57014|55P03|25006|28...|3D000|42P01|XX\d{3}|58...")
_DATA: Final = re.compile(r"22...|54...")
# Connection exceptions and shut down; and prepared statements that a migration
# or a pooler between has taken away: a new connection prepares them anew.
_GONE: Final = re.compile(r"08...|57P..|0A000|26000")


class DatabaseFailed(PacslessError):
    """PostgreSQL refused a statement we should not have sent."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR


class _Conflict(Exception):
    """Serialization failure or deadlock: the transaction is to be run again."""


class _Lost(Exception):
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``postgresql://user:password@host:port/database?sslmode=…``.

        Raises
        ------
        InvalidSetting
            If it is not such an address.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
        except ValueError:
            raise InvalidSetting("setting", "PACSLESS_POSTGRES has no valid port") from None
        mode = parse_qs(parts.query).get("sslmode", ["prefer"])[0]
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
            raise InvalidSetting(
                "setting", "PACSLESS_POSTGRES must be postgresql://user:password@host:port/database"
            )
        if mode not in ("disable", "prefer", "require", "verify-full"):
            raise InvalidSetting(
                "setting", "sslmode must be disable, prefer, require or verify-full"
            )
        return cls(
            parts.hostname,
            port,
            unquote(parts.username or "pacsless"),
            unquote(parts.password or ""),
            unquote(parts.path.lstrip("/")) or "pacsless",
            mode,
        )

    def connect(self) -> Wire:
        """Open a connection."""
        sock = socket.create_connection((self.host, self.port), _CONNECT_SECONDS)
        try:
            # pg8000 does neither: a long parameter's last segment would wait for
            # an acknowledgement, and a dead server would never be noticed.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.settimeout(_REPLY_SECONDS)
            return Wire(
                self.user,
                host=self.host,
                database=self.database,
                password=self.password,
                sock=sock,
                ssl_context=self._ssl(),
                application_name="pacsless",
                startup_params={
                    "statement_timeout": "50s",
                    # A generic plan cannot use an index for LIKE $1.
                    "plan_cache_mode": "force_custom_plan",
                },
            )
        except BaseException:
            sock.close()
            raise

    def _ssl(self) -> ssl.SSLContext | bool | None:
        match self.sslmode:
            case "disable":
                return False
            case "prefer":
                return None
            case "require":
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                return context
            case _:
                return ssl.create_default_context()


class Transaction:
    """Statements that take effect together."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def run(self, sql: str, **parameters: object) -> list[Row]:
        """Run one statement with ``:name`` parameters and return its rows.

        Raises
        ------
        Unavailable
            If PostgreSQL is down.
        Unprocessable
            If a value cannot be stored (SQLSTATE classes 22 and 54).
        DatabaseFailed
            If the statement is refused otherwise.
        """
        return self._connection.run(sql, parameters)


class _Connection:
    """A connection with its prepared statements: parsed once, one round trip each."""

    def __init__(self, address: Address) -> None:
        with _translated():
            self._wire = address.connect()
        self._prepared: OrderedDict[str, PreparedStatement] = OrderedDict()
        self.in_step = True
        """Whether the last reply was read to its end; without that the next
        statement would read what is left of it."""

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        self.in_step = False
        with _translated():
            try:
                yield
            except DatabaseError:
                self.in_step = True  # an error is a whole reply
                raise
        self.in_step = True

    def run(self, sql: str, parameters: dict[str, object]) -> list[Row]:
        with self._step():
            statement = self._prepared.get(sql)
            if statement is None:
                statement = self._prepared[sql] = self._wire.prepare(sql)
                if len(self._prepared) > _PREPARED:
                    self._prepared.popitem(last=False)[1].close()
            else:
                self._prepared.move_to_end(sql)
            return statement.run(**parameters) or []

    def script(self, sql: str) -> list[Row]:
        """Run statements without parameters by the simple protocol."""
        with self._step():
            return self._wire.run(sql) or []

    def close(self) -> None:
        with contextlib.suppress(InterfaceError, OSError):
            self._wire.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn pg8000's errors into ours. They quote rows, so none of them is kept as a cause."""
    try:
        yield
    except DatabaseError as error:
        told = error.args[0] if error.args else None
        state = str(told.get("C", "")) if isinstance(told, dict) else ""
        if state in _RETRIED:
            raise _Conflict from None
        if _GONE.fullmatch(state):
            raise _Lost from None
        if _DOWN.fullmatch(state):
            raise Unavailable("postgres", f"PostgreSQL cannot answer now: {_hint(state)}") from None
        if _DATA.fullmatch(state):
            raise Unprocessable(
                "postgres", f"PostgreSQL cannot store a value (SQLSTATE {state})"
            ) from None
        raise DatabaseFailed(
            "postgres", f"PostgreSQL refused a statement (SQLSTATE {state})"
        ) from None
    except (InterfaceError, OSError):
        raise _Lost from None


def _hint(state: str) -> str:
    match state[:2]:
        case "28" | "3D":
            return f"check PACSLESS_POSTGRES (SQLSTATE {state})"
        case "42":
            return "a table is missing, run `pacsless migrate`"
        case _:
            return f"SQLSTATE {state}"


class Database:
    """A small pool of connections that threads share.

    Parameters
    ----------
    address
        Where the database is.
    size
        Connections at most; one more thread waits for one.
    """

    def __init__(self, address: Address, size: int = 8) -> None:
        self._address = address
        self._free: list[_Connection] = []
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings, size: int = 8) -> Self:
        """Take the address from ``PACSLESS_POSTGRES``; nothing is connected yet."""
        return cls(Address.parse(settings.postgres), size)

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction and return what it returns.

        It is run again after a deadlock or a serialization failure, and once
        after a lost connection, even one lost in COMMIT: it must be idempotent.

        Raises
        ------
        Unavailable
            If PostgreSQL is down or stays contended.
        """
        lost = False
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                with self._transaction(fresh=lost) as transaction:
                    return work(transaction)
            except _Conflict:
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
            except _Lost:
                if lost:
                    raise self._down() from None
                lost = True
        raise Unavailable("postgres", "PostgreSQL is contended: too many deadlocks in a row")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction: committed at the end of the block, rolled back by an error.

        Raises
        ------
        Unavailable
            If PostgreSQL is down or another transaction got in the way.
        """
        try:
            with self._transaction(fresh=False) as transaction:
                yield transaction
        except _Conflict:
            raise Unavailable("postgres", "another transaction got in the way") from None
        except _Lost:
            raise self._down() from None

    def check(self) -> None:
        """Ask the database for a sign of life; readiness calls it.

        Raises
        ------
        Unavailable
            If there is none.
        """
        self.run(lambda transaction: transaction.run("SELECT 1"))

    def close(self) -> None:
        """Close the connections nobody uses."""
        with self._lock:
            idle, self._free = self._free, []
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _transaction(self, *, fresh: bool) -> Iterator[Transaction]:
        with self._connection(fresh=fresh) as connection:
            connection.run("BEGIN", {})
            try:
                yield Transaction(connection)
            except _Lost:
                raise
            except BaseException:
                if connection.in_step:
                    connection.run("ROLLBACK", {})
                raise
            connection.run("COMMIT", {})

    @contextlib.contextmanager
    def _connection(self, *, fresh: bool) -> Iterator[_Connection]:
        if not self._slots.acquire(timeout=_REPLY_SECONDS):
            raise Unavailable("postgres", "every connection of this process is busy")
        try:
            if fresh:
                # One lost connection usually means a restarted server: none of
                # the idle ones would be any better.
                self.close()
            with self._lock:
                connection = self._free.pop() if self._free else None
            connection = connection or _Connection(self._address)
            try:
                yield connection
            except _Lost:
                connection.in_step = False
                raise
            finally:
                if connection.in_step:
                    with self._lock:
                        self._free.append(connection)
                else:
                    connection.close()
        finally:
            self._slots.release()

    def _down(self) -> Unavailable:
        where = f"{self._address.host}:{self._address.port}"
        return Unavailable("postgres", f"PostgreSQL at {where} does not answer")


def migrate(settings: Settings, folder: Path) -> list[str]:
    """Bring the schema up to date with the ``NNNN_name.sql`` files of `folder`.

    Each runs once, in a transaction of its own; processes that start together
    wait for each other.

    Returns
    -------
    list of str
        The files applied now; none if the schema was up to date.

    Raises
    ------
    DatabaseFailed
        If an applied file was changed since, or one is refused.
    Unavailable
        If PostgreSQL is down.
    """
    address = Address.parse(settings.postgres)
    try:
        connection = _Connection(address)
        try:
            return _migrate(connection, folder)
        finally:
            connection.close()  # ends the lock too
    except (_Lost, _Conflict):
        raise Unavailable(
            "postgres", f"PostgreSQL at {address.host}:{address.port} does not answer"
        ) from None


def _migrate(connection: _Connection, folder: Path) -> list[str]:
    connection.run("SELECT pg_advisory_lock(:key)", {"key": _MIGRATION_LOCK})
    connection.script(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text"
        " NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known = dict(connection.run("SELECT name, checksum FROM schema_migrations", {}))
    applied = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        sql = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        if path.name in known:
            if known[path.name] != checksum:
                raise DatabaseFailed(
                    "migration",
                    f"{path.name} was changed after it was applied: add a new file instead",
                )
            continue
        connection.script("BEGIN")
        try:
            connection.script(sql)
            connection.run(
                "INSERT INTO schema_migrations (name, checksum) VALUES (:name, :checksum)",
                {"name": path.name, "checksum": checksum},
            )
        except BaseException:
            connection.script("ROLLBACK")
            raise
        connection.script("COMMIT")
        applied.append(path.name)
    return applied
