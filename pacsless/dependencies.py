"""What every part needs, each asked for a sign of life in its own protocol.

A check returns, or raises a `PacslessError` that says what is wrong and where, and
never a password.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from pacsless.errors import Unavailable
from pacsless.reach import host_and_port, reach
from pacsless.settings import Settings


@dataclass(frozen=True, slots=True)
class Dependency:
    """How to ask one, and which settings say where it is."""

    check: Callable[[Settings], None]
    settings: tuple[str, ...]


def _kafka(settings: Settings) -> None:
    from pacsless import bus

    bus.check(settings)


def _postgres(settings: Settings) -> None:
    from pacsless.postgres import Database

    with closing(Database.from_settings(settings, size=1)) as database:
        database.check()


def _redis(settings: Settings) -> None:
    from pacsless import cache

    cache.check(settings)


def _doris(settings: Settings) -> None:
    from pacsless.stream_load import StreamLoad
    from pacsless.warehouse_sql import WarehouseSql

    reach(*host_and_port(settings.doris, "PACSLESS_DORIS", 8030))
    StreamLoad.from_settings(settings).check()
    # Without a database: `pacsless tables` waits for it, too, and makes that.
    with closing(WarehouseSql.from_settings(replace(settings, doris_database=""))) as sql:
        reach(*host_and_port(sql.address, "PACSLESS_DORIS_MYSQL", 9030))
        sql.ask("SELECT 1")


def _archive(settings: Settings) -> None:
    from pacsless.archive import open_archive

    # It is only read here, and who waits need not have the gateway's spool.
    with tempfile.TemporaryDirectory() as spool:
        archive = open_archive(replace(settings, spool=spool))
        try:
            next(iter(archive.folders("")), None)
        except Unavailable as error:
            raise Unavailable(error.code, f"{error.message} ({settings.archive})") from None


DEPENDENCIES: Final[Mapping[str, Dependency]] = {
    "kafka": Dependency(_kafka, ("PACSLESS_KAFKA",)),
    "postgres": Dependency(_postgres, ("PACSLESS_POSTGRES",)),
    "redis": Dependency(_redis, ("PACSLESS_REDIS",)),
    "doris": Dependency(
        _doris,
        ("PACSLESS_DORIS", "PACSLESS_DORIS_MYSQL", "PACSLESS_DORIS_USER",
         "PACSLESS_DORIS_PASSWORD"),
    ),
    "archive": Dependency(_archive, ("PACSLESS_ARCHIVE", "PACSLESS_S3_ENDPOINT")),
}  # fmt: skip
"""By the names `pacsless wait-for` takes."""
