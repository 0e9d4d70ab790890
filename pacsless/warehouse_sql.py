"""Questions to the warehouse, over the MySQL protocol of Doris and of its stand-in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from pacsless.errors import Unavailable
from pacsless.reach import shown
from pacsless.settings import InvalidSetting, Settings

if TYPE_CHECKING:
    import pymysql

_SECONDS: Final = 60
_TOO_MANY_CONNECTIONS, _ACCESS_DENIED, _SHUTDOWN = 1040, 1045, 1053


class Answer(NamedTuple):
    """What came back."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class WarehouseSql:
    """A connection to the warehouse: made on first use, and anew after an error. Thread-safe.

    Parameters
    ----------
    address
        ``host:port``.
    user, password, database
        As Doris has them.

    Raises
    ------
    InvalidSetting
        If the address is none.
    """

    def __init__(
        self, address: str, user: str = "root", password: str = "", database: str = "pacsless"
    ) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise InvalidSetting(
                "setting", f"the warehouse's address must be host:port: {shown(address)}"
            )
        self.address = address
        self._options: dict[str, Any] = {
            "host": host, "port": int(port), "user": user, "password": password,
            "database": database,
        }  # fmt: skip
        self._connection: pymysql.Connection[Any] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take the address from ``PACSLESS_DORIS_MYSQL``; nothing is connected yet."""
        return cls(
            settings.doris_mysql,
            settings.doris_user,
            settings.doris_password,
            settings.doris_database,
        )

    def ask(self, sql: str, *values: str) -> Answer:
        """Ask a question.

        Raises
        ------
        Unavailable
            If the warehouse does not answer, or refuses the question.
        """
        import pymysql

        with self._lock, self._translated():
            if self._connection is not None:
                # One that nobody used for a while may have been closed at the other end,
                # and only a question shows it. None changes anything: it is asked again.
                try:
                    return self._ask(sql, values)
                except (pymysql.MySQLError, OSError) as error:
                    if not _is_connection(error):
                        raise
                    self.close()
            return self._ask(sql, values)

    def define(self, statement: str) -> None:
        """Run a statement that makes a database or a table, if it is not there.

        Raises
        ------
        Unavailable
            If the warehouse does not answer, or refuses; in its own words, as
            there is no row for them to quote.
        """
        import pymysql

        with self._lock:
            try:
                self._ask(statement, ())
            except (pymysql.MySQLError, OSError) as error:
                self.close()
                if _is_connection(error):
                    raise self._unavailable(error) from None
                number, *words = error.args
                told = " ".join(map(str, words))[:500]
                raise Unavailable(
                    "warehouse", f"the warehouse at {self.address} refuses ({number}): {told}"
                ) from None

    def _ask(self, sql: str, values: tuple[str, ...]) -> Answer:
        import pymysql

        if self._connection is None:
            self._connection = pymysql.connect(
                **self._options, autocommit=True, connect_timeout=5, read_timeout=_SECONDS
            )
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            columns = [str(one[0]) for one in cursor.description or ()]
            return Answer(columns, list(cursor.fetchall()))

    def close(self) -> None:
        """Disconnect; the next question connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection._force_close()  # type: ignore[attr-defined]  # no goodbye to wait for

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import pymysql

        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            self.close()
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> Unavailable:
        # Its messages may quote a row; the number says enough.
        number = _number(error)
        if number == _ACCESS_DENIED:
            return Unavailable(
                "warehouse",
                f"the warehouse at {self.address} refuses PACSLESS_DORIS_USER or "
                "PACSLESS_DORIS_PASSWORD",
            )
        if _is_connection(error):
            return Unavailable(
                "warehouse",
                f"the warehouse at {self.address} does not answer (MySQL error {number}); "
                "is it up, and PACSLESS_DORIS_MYSQL right?",
            )
        return Unavailable(
            "warehouse", f"the warehouse refused the question ({number}): are its tables made?"
        )


def _number(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _is_connection(error: Exception) -> bool:
    """Whether it is about the connection, and not about what was asked."""
    number = _number(error)
    return (
        isinstance(error, OSError)
        or number == 0  # pymysql's own: the connection is closed, or what came is no MySQL
        or 2000 <= number < 3000  # of the client
        or number in (_TOO_MANY_CONNECTIONS, _ACCESS_DENIED, _SHUTDOWN)
    )
