"""The change feed as Orthanc's ``/changes`` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from functions.orthanc.resources import orthanc_time
from pacsless.changes import latest, read

if TYPE_CHECKING:
    from functions.orthanc.index import Index
    from pacsless.changes import Change

DEFAULT_LIMIT: Final = 100
MOST: Final = 1_000
"""Changes of one answer."""
_TYPES: Final = {"create": "NewInstance", "update": "NewInstance", "delete": "Deleted"}


def changes(index: Index, since: int, limit: int) -> dict[str, Any]:
    """Return the changes after a number.

    Raises
    ------
    Unavailable
        ``numbering``, if too many wait for their numbers.
    """
    limit = min(limit or DEFAULT_LIMIT, MOST)
    found = read(index.holdings.database, index.tenant, since, limit)
    newest = index.newest_change() if len(found) in (0, limit) else found[-1].sequence
    done = len(found) < limit or found[-1].sequence >= newest
    return _told(index, found, done=done, newest=newest)


def last_change(index: Index) -> dict[str, Any]:
    """Return the newest change."""
    found = latest(index.holdings.database, index.tenant)
    return _told(index, [found] if found else [], done=True, newest=0)


def _told(index: Index, found: list[Change], *, done: bool, newest: int) -> dict[str, Any]:
    uids = [
        (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid) for one in found
    ]
    ids = index.ids_of(uids)
    said: dict[str, Any] = {
        "Changes": [
            {
                "ChangeType": _TYPES[one.action],
                "Date": orthanc_time(one.changed_at),
                "ID": ids[names],
                "Path": f"/instances/{ids[names]}",
                "ResourceType": "Instance",
                "Seq": one.sequence,
            }
            for one, names in zip(found, uids, strict=True)
            if names in ids  # else its study is gone, and with it what the id is made of
        ],
        "Done": done,
        "Last": found[-1].sequence if found else newest,
    }
    return said | ({"First": found[0].sequence} if found else {})
