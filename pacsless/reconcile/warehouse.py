"""The warehouse as a sweep sees it: asked over the MySQL protocol, never written."""

from __future__ import annotations

from typing import Any, Final, Self

from pacsless.reconcile.study import WarehouseRow
from pacsless.settings import Settings
from pacsless.warehouse_sql import WarehouseSql

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
    """Rows of the warehouse.

    Parameters
    ----------
    sql
        The connection.
    """

    def __init__(self, sql: WarehouseSql) -> None:
        self._sql = sql

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take the address from ``PACSLESS_DORIS_MYSQL``; nothing is connected yet."""
        return cls(WarehouseSql.from_settings(settings))

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
        self._sql.close()

    def _ask(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        return self._sql.ask(sql, *values).rows
