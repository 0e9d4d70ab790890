"""Where a sweep stands, in PostgreSQL, and that no two run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pacsless.errors import Busy
from pacsless.postgres import Database

_BEGIN: Final = """
INSERT INTO sweep (tenant_id, task, scope) VALUES (:tenant, :task, :scope)
ON CONFLICT (tenant_id, task) DO UPDATE SET scope = excluded.scope, after_study = '',
    instances = 0, started_at = now(), finished_at = NULL
"""
_READ: Final = """
SELECT scope, after_study, instances FROM sweep
WHERE tenant_id = :tenant AND task = :task AND finished_at IS NULL
"""
_ADVANCE: Final = """
UPDATE sweep SET after_study = :study, instances = instances + :instances
WHERE tenant_id = :tenant AND task = :task
"""
_FINISH: Final = "UPDATE sweep SET finished_at = now() WHERE tenant_id = :tenant AND task = :task"


@dataclass(frozen=True, slots=True)
class Position:
    """A sweep that has not ended."""

    scope: str
    after_study: str
    instances: int


class Sweep:
    """The newest run of a task of a tenant.

    Parameters
    ----------
    database
        Where it is remembered.
    tenant_id, task
        Whose, and which: ``rebuild``, ``reconcile`` or ``scrub``.
    """

    def __init__(self, database: Database, tenant_id: str, task: str) -> None:
        self._database = database
        self._key = {"tenant": tenant_id, "task": task}

    def unfinished(self) -> Position | None:
        """Return where it stopped, or None if it ended or never began."""
        found = self._database.run(lambda t: t.run(_READ, **self._key))
        return Position(found[0][0], found[0][1], int(found[0][2])) if found else None

    def begin(self, scope: str = "") -> Position:
        """Begin anew."""
        self._database.run(lambda t: t.run(_BEGIN, **self._key, scope=scope))
        return Position(scope, "", 0)

    def advance(self, study: str, instances: int) -> None:
        """Note that a study is done, and all before it."""
        self._database.run(lambda t: t.run(_ADVANCE, **self._key, study=study, instances=instances))

    def finish(self) -> None:
        """Note that it ended."""
        self._database.run(lambda t: t.run(_FINISH, **self._key))


@contextlib.contextmanager
def alone(database: Database, tenant_id: str) -> Iterator[None]:
    """Keep others from sweeping the tenant for as long as the block runs.

    The lock is PostgreSQL's and ends with its connection: nothing is left of a
    process that was killed.

    Raises
    ------
    Busy
        If another does.
    """
    sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"
    with database.transaction() as transaction:
        if not transaction.run(sql, name=f"pacsless/sweep/{tenant_id}")[0][0]:
            raise Busy("busy", f"another rebuild or reconcile of tenant {tenant_id} is running")
        yield
