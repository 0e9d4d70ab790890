"""The schema's migrations: SQL files, each applied once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pacsless.errors import Unavailable
from pacsless.postgres.address import Address
from pacsless.postgres.connection import Conflict, Connection, DatabaseFailed, Lost, down
from pacsless.settings import Settings

_MIGRATION_LOCK: Final = 0x7061_6373  # "pacs"


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
        If there is no such file, an applied one was changed since, or one is refused.
    Unavailable
        If PostgreSQL is down.
    """
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if not files:
        # In a function's image there are none: "up to date" would be a guess.
        raise DatabaseFailed("migration", f"there are no migrations in {folder}")
    address = Address.parse(settings.postgres)
    try:
        # A migration may copy the whole ledger, or wait for one that does.
        connection = Connection(address, patient=True)
        try:
            return _migrate(connection, files)
        finally:
            connection.close()  # ends the lock too
    except Lost as error:
        raise down(address, error) from None
    except Conflict:
        raise Unavailable("postgres", "another transaction got in the way: try again") from None


def _migrate(connection: Connection, files: Sequence[Path]) -> list[str]:
    connection.run("SELECT pg_advisory_lock(:key)", {"key": _MIGRATION_LOCK})
    connection.script(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text"
        " NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known = dict(connection.run("SELECT name, checksum FROM schema_migrations", {}))
    applied = []
    for path in files:
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
