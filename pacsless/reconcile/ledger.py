"""The index in PostgreSQL as a sweep sees it, and what it may change there: revisions."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from pacsless.events import SeriesRevised
from pacsless.postgres import Database, Transaction
from pacsless.reconcile.study import Instance, LedgerRow, SeriesRow
from pacsless.states import STATES, series_revised
from pacsless.times import iso_time

_STUDY: Final = "tenant_id = :tenant AND study_instance_uid = :study"

_INSTANCE: Final = "tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid"

_ROWS: Final = f"""
SELECT series_instance_uid, sop_instance_uid, file_size, sha256, revision, created_date, file_time
FROM instance WHERE {_STUDY}
"""  # noqa: S608  every part is a constant of this module; values are parameters

# A series that changes now is on its way through the functions: nobody is late.
_SERIES: Final = f"""
SELECT series.series_instance_uid, series.revision, coalesce(document.revision, 0),
    series.updated_at < now() - make_interval(secs => CAST(:settle AS float8))
FROM series LEFT JOIN metadata_document AS document
    USING (tenant_id, study_instance_uid, series_instance_uid)
WHERE {_STUDY}
"""  # noqa: S608

_RENUMBER: Final = (
    f"SELECT FROM study WHERE {_STUDY} FOR NO KEY UPDATE",  # as extract_tags does
    # With a change each: an entry of the feed is current by its revision.
    f"""
    WITH new AS MATERIALIZED (SELECT nextval('revision') AS revision), ledger AS (
        UPDATE instance SET revision = new.revision FROM new WHERE {_STUDY} RETURNING instance.*
    ), recorded AS (
        INSERT INTO change ({_INSTANCE}, revision, action)
        SELECT {_INSTANCE}, revision, 'update' FROM ledger
    )
    UPDATE series SET revision = new.revision FROM new WHERE {_STUDY}
    """,  # noqa: S608
)

# A file's own event may wait for Kafka or lie among the dead letters, and another
# one each sweep would help nobody.
AGAIN_SECONDS: Final = 6 * 3600.0
"""Time after which a file that still has no row is announced once more."""
_LATELY: Final = "announced_at > now() - make_interval(secs => CAST(:again AS float8))"
_NOTE_ANNOUNCED: Final = f"""
INSERT INTO announced_file ({_INSTANCE})
SELECT {_INSTANCE} FROM json_populate_recordset(NULL::announced_file, CAST(:rows AS json))
ORDER BY {_INSTANCE}
ON CONFLICT ({_INSTANCE}) DO UPDATE SET announced_at = now()
"""  # noqa: S608

_ROOM: Final = 1_000_000
"""Revisions others may draw while the sequence is raised."""


def tenants(database: Database) -> list[str]:
    """Return the tenants the index knows."""
    rows = database.run(lambda t: t.run("SELECT DISTINCT tenant_id FROM study ORDER BY 1"))
    return [str(row[0]) for row in rows]


def studies(database: Database, tenant_id: str) -> list[str]:
    """Return the Study Instance UIDs of a tenant, sorted."""
    sql = "SELECT study_instance_uid FROM study WHERE tenant_id = :tenant ORDER BY 1"
    return [str(row[0]) for row in database.run(lambda t: t.run(sql, tenant=tenant_id))]


def rows(database: Database, tenant_id: str, study: str) -> dict[Instance, LedgerRow]:
    """Return the ledger of a study."""
    found = database.run(lambda t: t.run(_ROWS, tenant=tenant_id, study=study))
    return {
        (series, sop): LedgerRow(
            int(size), sha256, int(revision), created.isoformat(), iso_time(time) if time else ""
        )
        for series, sop, size, sha256, revision, created, time in found
    }


def series(database: Database, tenant_id: str, study: str, settle: float) -> dict[str, SeriesRow]:
    """Return the series of a study, and whether they have been left alone for `settle` seconds."""
    found = database.run(lambda t: t.run(_SERIES, tenant=tenant_id, study=study, settle=settle))
    return {
        uid: SeriesRow(int(revision), int(documented), bool(settled))
        for uid, revision, documented, settled in found
    }


def states(database: Database, tenant_id: str, study: str) -> list[SeriesRevised]:
    """Return the states of a study's series, as extract_tags announced them last."""
    key = {"tenant_id": tenant_id, "study_instance_uid": study, "revision": 0}
    found = database.run(lambda t: t.run(STATES, rows=json.dumps([key])))
    return [series_revised(row) for row in found]


def raise_revision(database: Database, floor: int) -> bool:
    """See that every revision to come is larger than `floor`; return whether that was needed.

    An index that was lost counts from 1 again, and the warehouse would take what
    is new for old.
    """
    # Others draw numbers at the same moment, between nextval and setval too: what is
    # left above the floor is theirs, and no two raise it at a time.
    sql = """
    SELECT setval('revision', CAST(:floor AS bigint) + :room)
    FROM (SELECT nextval('revision') AS next) AS n WHERE next <= :floor
    """
    last = database.run(lambda t: t.run("SELECT last_value FROM revision"))
    if int(last[0][0]) >= floor:
        return False

    def work(transaction: Transaction) -> bool:
        transaction.run("SELECT pg_advisory_xact_lock(hashtextextended('pacsless/revision', 0))")
        return bool(transaction.run(sql, floor=floor, room=_ROOM))

    return database.run(work)


def next_revision(database: Database) -> int:
    """Draw a revision."""
    return int(database.run(lambda t: t.run("SELECT nextval('revision')"))[0][0])


def renumber(database: Database, tenant_id: str, study: str) -> None:
    """Give a study a revision that is newer than all there were."""

    def work(transaction: Transaction) -> None:
        for statement in _RENUMBER:
            transaction.run(statement, tenant=tenant_id, study=study)

    database.run(work)


def announced(database: Database, tenant_id: str, study: str) -> set[Instance]:
    """Return the files of a study that a sweep has announced lately."""
    sql = f"""
    SELECT series_instance_uid, sop_instance_uid FROM announced_file WHERE {_STUDY} AND {_LATELY}
    """  # noqa: S608
    found = database.run(lambda t: t.run(sql, tenant=tenant_id, study=study, again=AGAIN_SECONDS))
    return {(str(series), str(sop)) for series, sop in found}


def note_announced(
    database: Database, tenant_id: str, study: str, instances: Collection[Instance]
) -> None:
    """Remember that files without a row are announced, and forget older notes of the tenant."""
    rows = json.dumps([
        {
            "tenant_id": tenant_id,
            "study_instance_uid": study,
            "series_instance_uid": series,
            "sop_instance_uid": sop,
        }
        for series, sop in instances
    ])  # fmt: skip
    old = f"DELETE FROM announced_file WHERE tenant_id = :tenant AND NOT {_LATELY}"  # noqa: S608

    def work(transaction: Transaction) -> None:
        transaction.run(old, tenant=tenant_id, again=AGAIN_SECONDS)
        transaction.run(_NOTE_ANNOUNCED, rows=rows)

    database.run(work)
