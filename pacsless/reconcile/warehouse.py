"""The warehouse as a sweep sees it: asked over the MySQL protocol, never written."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from pacsless.errors import Unavailable
from pacsless.reconcile.study import WarehouseRow
from pacsless.settings import InvalidSetting, Settings

if TYPE_CHECKING:
    import pymysql

_SECONDS: Final = 60
_IMAGES: Final = """
SELECT created_date, series_instance_uid, sop_instance_uid, event_seq, is_deleted, sha256
FROM dicom_image_meta WHERE tenant_id = %s AND study_instance_uid = %s
"""
_STATES: Final = """
SELECT series_instance_uid, event_seq, is_deleted
FROM dicom_state_meta WHERE tenant_id = %s AND study_instance_uid = %s
"""
_STUDIES: Final = """
SELECT study_instance_uid FROM dicom_state_meta WHERE tenant_id = %s AND is_deleted = 0
UNION SELECT study_instance_uid FROM dicom_image_meta WHERE tenant_id = %s AND is_deleted = 0
"""
_TABLES: Final = ("dicom_state_meta", "dicom_image_meta")


class WarehouseRows:
    """Rows of the warehouse; connects on first use, and anew after an error. Thread-safe."""

    def __init__(self, host: str, port: int, user: str, password: str, database: str) -> None:
        self._address: dict[str, Any] = {
            "host": host, "port": port, "user": user, "password": password, "database": database,
        }  # fmt: skip
        self._connection: pymysql.Connection[Any] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take the address from ``PACSLESS_DORIS_MYSQL``; nothing is connected yet."""
        host, _, port = settings.doris_mysql.rpartition(":")
        if not host or not port.isdecimal():
            raise InvalidSetting("setting", "PACSLESS_DORIS_MYSQL must be host:port")
        return cls(host, int(port), settings.doris_user, settings.doris_password,
                   settings.doris_database)  # fmt: skip

    def highest_revision(self, tenant_id: str = "", study: str = "") -> int:
        """Return the newest revision of a study, or of all there is; 0 if there is none."""
        where = "WHERE tenant_id = %s AND study_instance_uid = %s" if tenant_id else ""
        values = (tenant_id, study) if tenant_id else ()
        found = [
            self._ask(f"SELECT max(event_seq) FROM {table} {where}", *values)  # noqa: S608
            for table in _TABLES
        ]
        return max(int(rows[0][0] or 0) for rows in found)

    def studies(self, tenant_id: str) -> list[str]:
        """Return the Study Instance UIDs of a tenant."""
        return [str(row[0]) for row in self._ask(_STUDIES, tenant_id, tenant_id)]

    def images(self, tenant_id: str, study: str) -> dict[tuple[str, str, str], WarehouseRow]:
        """Return the images of a study."""
        return {
            (str(created), series, sop): WarehouseRow(int(revision), bool(deleted), sha256 or "")
            for created, series, sop, revision, deleted, sha256 in self._ask(
                _IMAGES, tenant_id, study
            )
        }

    def states(self, tenant_id: str, study: str) -> dict[str, WarehouseRow]:
        """Return the states of a study and its series."""
        return {
            series: WarehouseRow(int(revision), bool(deleted))
            for series, revision, deleted in self._ask(_STATES, tenant_id, study)
        }

    def close(self) -> None:
        """Disconnect; the next question connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection._force_close()  # type: ignore[attr-defined]  # no goodbye to wait for

    def _ask(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            import pymysql

            if self._connection is None:
                self._connection = pymysql.connect(
                    **self._address, autocommit=True, connect_timeout=5, read_timeout=_SECONDS
                )
            with self._connection.cursor() as cursor:
                cursor.execute(sql, values)
                return list(cursor.fetchall())

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import pymysql

        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            self.close()
            # Its messages may quote a row; the number says enough.
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            where = f"{self._address['host']}:{self._address['port']}"
            raise Unavailable(
                "warehouse",
                f"the warehouse at {where} does not answer (MySQL error {number}); "
                "is it up, and PACSLESS_DORIS_MYSQL right?",
            ) from None
