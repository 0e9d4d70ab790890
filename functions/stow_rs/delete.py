"""Deleting a study, a series or an instance, if that is turned on (docs/delete.md).

Instance by instance, each for good: a request that is cut off is gone on with by
the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from typing import Final

from werkzeug.wrappers import Response

from functions.stow_rs.asked import remote_address
from functions.stow_rs.storing import Storing
from pacsless.archive import Archive
from pacsless.errors import BadRequest, NotFound, Unavailable
from pacsless.identity import SeriesIdentity
from pacsless.metadata import originals
from pacsless.outbox import Intent
from pacsless.settings import Settings
from pacsless.storage import deletion
from pacsless.tombstones import is_deleted, tombstones
from pacsless.web import Request, plain

_AT_A_TIME: Final = 1000
"""Instances of a series whose files go before what was made of them does: its document is
written anew each time."""
_SECONDS: Final = 240.0
"""For one request; nginx waits for 300."""


def delete_study(request: Request, study: str, *, storing: Storing, settings: Settings) -> Response:
    """Delete every instance of a study."""
    return _delete(request, storing, settings, study)


def delete_series(
    request: Request, study: str, series: str, *, storing: Storing, settings: Settings
) -> Response:
    """Delete every instance of a series."""
    return _delete(request, storing, settings, study, series)


def delete_instance(
    request: Request, study: str, series: str, sop: str, *, storing: Storing, settings: Settings
) -> Response:
    """Delete one instance."""
    return _delete(request, storing, settings, study, series, sop)


def _delete(request: Request, storing: Storing, settings: Settings, *uids: str) -> Response:
    study, series, sop = (*uids, "", "")[:3]
    if not settings.delete:
        return plain(405, "Nothing can be deleted here.", {"Allow": "" if series else "POST"})
    if request.http.args:
        # Who says more than the address does would have less deleted than all of it.
        raise BadRequest("query", "a request to delete takes no parameters")
    archive, deadline = storing.service.archive, time.monotonic() + _SECONDS
    deleter = deletion.Deleter(request.user, remote_address(request))
    is_anything = False
    for one in _series(archive, request.tenant, study, series):
        wanted = [sop] if sop else _instances(archive, one)
        for start in range(0, len(wanted), _AT_A_TIME):
            if time.monotonic() > deadline:
                raise Unavailable(
                    "unfinished", "not all of it is deleted yet: ask again, it goes on from here"
                )
            some = wanted[start : start + _AT_A_TIME]
            is_anything |= _delete_some(storing, one, some, deleter)
    if not is_anything:
        raise NotFound("no-such-object", "there is nothing to delete")
    return Response(status=204)


def _delete_some(
    storing: Storing, series: SeriesIdentity, uids: list[str], deleter: deletion.Deleter
) -> bool:
    """Delete instances of a series; return whether there was anything of them."""
    service = storing.service
    identities = [series.instance(uid) for uid in uids]
    tasks: list[Future[Intent | None]] = [
        storing.deleting.submit(deletion.delete, service.archive, service.outbox, one, deleter)
        for one in identities
    ]
    wait(tasks)
    promised = [intent for one in tasks if not one.exception() and (intent := one.result())]
    try:
        # What was put aside and has never had an instance beside it stays.
        written = {intent.key for intent in promised}
        gone = {
            one.sop_instance_uid
            for one in identities
            if one.tombstone_key in written or is_deleted(service.archive, one)
        }
        was_left = bool(gone) and deletion.clean_series(service.archive, series, gone)
    finally:
        # The files are gone, whatever else could not be removed: say so.
        for intent in promised:
            service.outbox.kept(intent)
    for one in tasks:
        one.result()
    return bool(promised) or was_left


def _series(archive: Archive, tenant: str, study: str, series: str) -> Iterable[SeriesIdentity]:
    if series:
        return [SeriesIdentity(tenant, study, series)]
    names = {
        *archive.folders(f"{tenant}/{study}/"),
        *archive.folders(f"tombstones/{tenant}/{study}/"),
    }
    return [SeriesIdentity(tenant, study, name) for name in sorted(names)]


def _instances(archive: Archive, series: SeriesIdentity) -> list[str]:
    """SOP Instance UIDs of a series; also of what is deleted, should anything be left of it."""
    return sorted(tombstones(archive, series) | originals(archive, series).keys())
