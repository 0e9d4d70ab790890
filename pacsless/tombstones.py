"""Tombstones: what says in the archive that an instance was deleted.

A tombstone is the `InstanceDeleted` event itself, as a file. It stays, so that an
index that is filled from old events does not take the instance for one that is
missing. It hides nothing: what is stored under the same UIDs later is a file, and
files are the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsless.codec import time_at
from pacsless.errors import NotFound, Unprocessable
from pacsless.events import InstanceDeleted
from pacsless.strict_json import loads

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat
    from pacsless.identity import InstanceIdentity, SeriesIdentity


def is_deleted(archive: Archive, identity: InstanceIdentity) -> bool:
    """Whether an instance was deleted at some time; it may have been stored again since."""
    return archive.stat(identity.tombstone_key) is not None


def is_file_deleted(archive: Archive, identity: InstanceIdentity, received_at: str) -> bool:
    """Whether it is the file received at that time that was deleted last."""
    tombstone = read_tombstone(archive, identity.tombstone_key)
    return tombstone is not None and tombstone.received_at == received_at


def is_of_deleted(archive: Archive, identity: InstanceIdentity, made: Stat) -> bool:
    """Whether something was made of a file that was deleted since, and another has its name."""
    if not is_deleted(archive, identity):
        return False
    stat = archive.stat(identity.key)
    return stat is not None and made.kept <= stat.kept


def tombstones(archive: Archive, series: SeriesIdentity) -> set[str]:
    """SOP Instance UIDs of what was deleted of a series at some time."""
    prefix = f"{series.tombstones}/"
    return {stat.key.removeprefix(prefix).removesuffix(".json") for stat in archive.list(prefix)}


def read_tombstone(archive: Archive, key: str) -> InstanceDeleted | None:
    """Return what a tombstone says; None if there is none.

    Raises
    ------
    Unprocessable
        If it is no tombstone.
    """
    try:
        with archive.open(key) as file:
            return InstanceDeleted.from_data(loads(file.read()))
    except NotFound:
        return None
    except ValueError:
        raise Unprocessable("tombstone", "the file is no tombstone") from None


def received_at(stat: Stat) -> str:
    """When a file was received: of two that had one name, it tells which."""
    return time_at(round(stat.modified * 1e6) * 1000)
