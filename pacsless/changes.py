# ruff: noqa: S608  every part is a constant of this module; values are parameters
"""The changes of the ledger: number what waits, and read them by their numbers.

A number is given under the lock on the tenant's row of ``change_feed``, to rows
that are committed. Whoever gets the lock looks again (READ COMMITTED takes a
snapshot per statement), so the next number is always given in sight of all
before it. A reader needs no lock: numbers become visible a whole run at a time,
in their order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pacsless.errors import Unavailable

if TYPE_CHECKING:
    from pacsless.postgres import Database, Transaction


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the feed."""

    sequence: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    action: str
    """``create``, ``update`` or ``delete``."""
    changed_at: datetime
    state: str
    """Of the instance as this change left it: ``current``, ``replaced`` or ``deleted``."""


_AT_ONCE: Final = 2_000
"""Numbers given in one transaction."""
_NUMBERING_SECONDS: Final = 20.0
"""The longest one request gives numbers; nginx waits 60 s for its answer."""

_WAITING: Final = """
SELECT EXISTS (SELECT FROM change WHERE tenant_id = :tenant AND sequence IS NULL)
"""

_LOCK: Final = """
INSERT INTO change_feed (tenant_id, last_sequence) VALUES (:tenant, 0)
ON CONFLICT (tenant_id) DO UPDATE SET last_sequence = change_feed.last_sequence
RETURNING last_sequence
"""

# The revision is drawn under the lock on the study, so of one instance's changes
# the earlier is committed first and has the smaller one. Rows are found again by
# ctid, which holds still under the lock: a join by key is planned by statistics,
# and a burst has none yet.
_NUMBER: Final = """
WITH waiting AS (
    SELECT ctid AS place, revision, study_instance_uid, series_instance_uid, sop_instance_uid
    FROM change WHERE tenant_id = :tenant AND sequence IS NULL
    ORDER BY revision, study_instance_uid, series_instance_uid, sop_instance_uid
    LIMIT :most
), placed AS (
    SELECT place, CAST(:last AS bigint) + row_number() OVER (
        ORDER BY revision, study_instance_uid, series_instance_uid, sop_instance_uid) AS number
    FROM waiting
), numbered AS (
    UPDATE change SET sequence = placed.number FROM placed
    WHERE change.ctid = placed.place AND change.tenant_id = :tenant
    RETURNING change.sequence
)
UPDATE change_feed SET last_sequence = last_sequence + (SELECT count(*) FROM numbered)
WHERE tenant_id = :tenant
"""


def _changes(where: str, order: str, limit: str) -> str:
    return f"""
SELECT sequence, study_instance_uid, series_instance_uid, sop_instance_uid, page.action,
    page.changed_at, CASE
        WHEN instance.revision IS NULL THEN 'deleted'
        WHEN instance.revision = page.revision THEN 'current'
        ELSE 'replaced' END
FROM (
    SELECT * FROM change WHERE tenant_id = :tenant AND {where} ORDER BY {order} LIMIT {limit}
) AS page LEFT JOIN instance
    USING (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid)
ORDER BY sequence
"""


_PAGE: Final = _changes("sequence > :offset", "sequence", ":limit")
_LATEST: Final = _changes("sequence IS NOT NULL", "sequence DESC", "1")


def read(database: Database, tenant_id: str, offset: int, limit: int) -> list[Change]:
    """Return the changes after a number; fewer than `limit` only if there are no more.

    Raises
    ------
    Unavailable
        ``numbering``, if too many wait for their numbers.
    """
    deadline = time.monotonic() + _NUMBERING_SECONDS
    while True:
        rows = database.run(lambda t: t.run(_PAGE, tenant=tenant_id, offset=offset, limit=limit))
        if len(rows) == limit or not _number_before(deadline, database, tenant_id):
            return [Change(*row) for row in rows]


def latest(database: Database, tenant_id: str) -> Change | None:
    """Return the newest change, None if nothing ever happened.

    Raises
    ------
    Unavailable
        ``numbering``, if too many wait for their numbers.
    """
    deadline = time.monotonic() + _NUMBERING_SECONDS
    while _number_before(deadline, database, tenant_id):
        pass
    rows = database.run(lambda t: t.run(_LATEST, tenant=tenant_id))
    return Change(*rows[0]) if rows else None


def _number_before(deadline: float, database: Database, tenant_id: str) -> bool:
    if not number(database, tenant_id):
        return False
    if time.monotonic() > deadline:
        raise Unavailable(
            "numbering", "many changes wait for their numbers: ask again, it goes on from here"
        )
    return True


def number(database: Database, tenant_id: str) -> bool:
    """Number changes that wait.

    Returns
    -------
    bool
        Whether any waited: then there may be more by now.
    """

    def work(transaction: Transaction) -> bool:
        if not transaction.run(_WAITING, tenant=tenant_id)[0][0]:
            return False
        last = transaction.run(_LOCK, tenant=tenant_id)[0][0]
        transaction.run(_NUMBER, tenant=tenant_id, last=last, most=_AT_ONCE)
        return True

    return database.run(work)
