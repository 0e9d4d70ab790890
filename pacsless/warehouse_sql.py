"""Questions to the warehouse, over the MySQL protocol of Doris and of its stand-in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from pacsless.errors import Unavailable
from pacsless.settings import InvalidSetting, Settings

if TYPE_CHECKING:
    import pymysql

_SECONDS: Final = 60


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
            raise InvalidSetting("setting", f"the warehouse's address must be host:port: {address}")
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
            If the warehouse does not answer.
        """
        import pymysql

        with self._lock, self._translated():
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
            # Its messages may quote a row; the number says enough.
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            raise Unavailable(
                "warehouse",
                f"the warehouse at {self.address} does not answer (MySQL error {number}); "
                "is it up, and PACSLESS_DORIS_MYSQL right?",
            ) from None
