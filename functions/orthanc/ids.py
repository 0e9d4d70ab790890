"""The effects on ids: what each was made of, looked up, and noted from the change feed.

Nothing is noted when an instance is stored. Whoever asks for an id that is not there
notes what has come since somebody did, and looks again: then it is there, or nothing
in the index has it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from functions.orthanc.levels import Level
from pacsless.changes import number
from pacsless.errors import PacslessError, Unavailable
from pacsless.orthanc_ids import id_digest

if TYPE_CHECKING:
    from pacsless.postgres import Database, Row, Transaction

_AT_ONCE: Final = 2_000
"""Instances whose ids are noted in one transaction."""
_PATIENCE_SECONDS: Final = 5.0
"""The longest a request notes what has come; what is left is noted without it."""

_BEHIND: Final = """
SELECT EXISTS (SELECT FROM change WHERE tenant_id = :tenant AND sequence IS NULL)
    OR EXISTS (SELECT FROM orthanc_renamed_study WHERE tenant_id = :tenant)
    OR COALESCE((SELECT last_sequence FROM change_feed WHERE tenant_id = :tenant), 0)
     > COALESCE((SELECT last_sequence FROM orthanc_progress WHERE tenant_id = :tenant), 0)
"""

_LOCK: Final = """
INSERT INTO orthanc_progress (tenant_id, last_sequence) VALUES (:tenant, 0)
ON CONFLICT (tenant_id) DO UPDATE SET last_sequence = orthanc_progress.last_sequence
RETURNING last_sequence
"""

# What happened to an instance does not matter here: one that is gone is found nowhere.
_CHANGED: Final = """
SELECT page.sequence, study.patient_id, study_instance_uid, page.series_instance_uid,
    page.sop_instance_uid
FROM (
    SELECT * FROM change WHERE tenant_id = :tenant AND sequence > :last
    ORDER BY sequence LIMIT :most
) AS page LEFT JOIN study USING (tenant_id, study_instance_uid)
ORDER BY page.sequence
"""

_PROGRESS: Final = "UPDATE orthanc_progress SET last_sequence = :last WHERE tenant_id = :tenant"

_RENAMED: Final = """
SELECT number, study_instance_uid, series_instance_uid, sop_instance_uid
FROM orthanc_renamed_study WHERE tenant_id = :tenant ORDER BY number LIMIT 1
"""

_OF_RENAMED: Final = """
SELECT study.patient_id, study_instance_uid, series_instance_uid, sop_instance_uid
FROM instance JOIN study USING (tenant_id, study_instance_uid)
WHERE instance.tenant_id = :tenant AND instance.study_instance_uid = :study
  AND (series_instance_uid, sop_instance_uid) > (:series, :sop)
ORDER BY series_instance_uid, sop_instance_uid LIMIT :most
"""

_RENAMED_UP_TO: Final = """
UPDATE orthanc_renamed_study SET series_instance_uid = :series, sop_instance_uid = :sop
WHERE tenant_id = :tenant AND number = :number
"""

_ALL_RENAMED: Final = """
DELETE FROM orthanc_renamed_study WHERE tenant_id = :tenant AND number = :number
"""

_NOTE: Final = """
INSERT INTO orthanc_id (tenant_id, level, orthanc_id, keys)
SELECT :tenant, level, orthanc_id, keys
FROM json_to_recordset(CAST(:rows AS json)) AS new(level text, orthanc_id bytea, keys text[])
ON CONFLICT DO NOTHING
"""

_logger: Final = logging.getLogger(__name__)


class Ids:
    """Notes what ids are made of; for many threads.

    Parameters
    ----------
    database
        Has the index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._going_on = threading.Lock()

    def catch_up(self, tenant: str) -> None:
        """Note all ids of what is in the index.

        Raises
        ------
        Unavailable
            ``ids``, if there are so many that the request should not wait: they are
            noted without it.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._is_behind(tenant):
            if time.monotonic() > until:
                if self._going_on.acquire(blocking=False):
                    threading.Thread(
                        target=self._go_on, args=(tenant,), name="orthanc-ids", daemon=True
                    ).start()
                raise Unavailable("ids", "many ids are not looked up yet: ask again in a while")
            self._note_some(tenant)

    def _go_on(self, tenant: str) -> None:
        try:
            while self._is_behind(tenant):
                self._note_some(tenant)
        except PacslessError:
            _logger.warning("ids are not noted", exc_info=True)  # by the next request, then
        finally:
            self._going_on.release()

    def _is_behind(self, tenant: str) -> bool:
        return bool(self._database.run(lambda t: t.run(_BEHIND, tenant=tenant))[0][0])

    def _note_some(self, tenant: str) -> None:
        number(self._database, tenant)
        self._database.run(lambda transaction: _note_some(transaction, tenant))


def _note_some(transaction: Transaction, tenant: str) -> None:
    """Note the ids of some changes, and of some of a study whose Patient ID has changed."""
    last = transaction.run(_LOCK, tenant=tenant)[0][0]
    changed = transaction.run(_CHANGED, tenant=tenant, last=last, most=_AT_ONCE)
    if changed:
        transaction.run(_PROGRESS, tenant=tenant, last=changed[-1][0])
    # A study that is gone has no Patient ID, and with it nothing has an id.
    keys = [row[1:] for row in changed if row[1] is not None]
    for place, study, series, sop in transaction.run(_RENAMED, tenant=tenant):
        found = transaction.run(
            _OF_RENAMED, tenant=tenant, study=study, series=series, sop=sop, most=_AT_ONCE
        )
        keys += found
        if len(found) < _AT_ONCE:
            transaction.run(_ALL_RENAMED, tenant=tenant, number=place)
        else:
            transaction.run(
                _RENAMED_UP_TO, tenant=tenant, number=place, series=found[-1][2], sop=found[-1][3]
            )
    if keys:
        transaction.run(_NOTE, tenant=tenant, rows=_noted(keys))


def _noted(instances: Iterable[Row]) -> str:
    """Rows of instances and all they are part of."""
    known = {tuple(one[: level.depth + 1]) for one in instances for level in Level}
    levels = list(Level)
    return json.dumps(
        [
            {
                "level": levels[len(keys) - 1].table,
                "orthanc_id": f"\\x{id_digest(*keys).hex()}",
                "keys": keys[1:] or keys,
            }
            for keys in known
        ]
    )
