"""PostgreSQL: connections, transactions, migrations; the only package that imports pg8000."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Self, TypeVar

from pacsless.errors import Unavailable
from pacsless.postgres.address import REPLY_SECONDS, Address
from pacsless.postgres.connection import (
    Conflict,
    Connection,
    DatabaseFailed,
    Lost,
    Row,
    TimedOut,
    down,
)
from pacsless.postgres.migrations import migrate
from pacsless.settings import Settings

__all__ = ["Address", "Database", "DatabaseFailed", "Row", "TimedOut", "Transaction", "migrate"]

T = TypeVar("T")

_CONFLICT_ATTEMPTS: Final = 8


class Transaction:
    """Statements that take effect together."""

    def __init__(self, connection: Connection) -> None:
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
        self._free: list[Connection] = []
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
            except Conflict:
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
            except Lost as error:
                if lost:
                    raise self._down(error) from None
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
        except Conflict:
            raise Unavailable("postgres", "another transaction got in the way") from None
        except Lost as error:
            raise self._down(error) from None

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
            except Lost:
                raise
            except BaseException:
                if connection.in_step:
                    connection.run("ROLLBACK", {})
                raise
            connection.run("COMMIT", {})

    @contextlib.contextmanager
    def _connection(self, *, fresh: bool) -> Iterator[Connection]:
        if not self._slots.acquire(timeout=REPLY_SECONDS):
            raise Unavailable("postgres", "every connection of this process is busy")
        try:
            if fresh:
                # One lost connection usually means a restarted server: none of
                # the idle ones would be any better.
                self.close()
            with self._lock:
                connection = self._free.pop() if self._free else None
            connection = connection or Connection(self._address)
            try:
                yield connection
            except Lost:
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

    def _down(self, error: Lost) -> Unavailable:
        return down(self._address, error)
