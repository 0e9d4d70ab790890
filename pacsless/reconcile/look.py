"""Looking at a study in all four places."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pacsless.archive import Archive
from pacsless.errors import InvalidIdentity
from pacsless.identity import InstanceIdentity, SeriesIdentity, study_metadata_key, valid_uid
from pacsless.metadata import read_whole_document
from pacsless.postgres import Database
from pacsless.reconcile import files, ledger
from pacsless.reconcile.study import File, Study
from pacsless.reconcile.warehouse import WarehouseRows
from pacsless.tombstones import received_at


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study is looked at."""

    archive: Archive
    database: Database
    warehouse: WarehouseRows


def studies(places: Places, tenant_id: str) -> list[str]:
    """Return the Study Instance UIDs of a tenant that are known anywhere, sorted."""
    found = {
        *files.studies(places.archive, tenant_id),
        *ledger.studies(places.database, tenant_id),
        *places.warehouse.studies(tenant_id),
    }
    return sorted(uid for uid in found if _is_uid(uid))


def _is_uid(name: str) -> bool:
    try:
        valid_uid(name)
    except InvalidIdentity:
        return False
    return True


def look(places: Places, tenant_id: str, study: str, settle: float) -> Study:
    """Gather what is known of a study.

    Parameters
    ----------
    places
        Where to look.
    tenant_id, study
        Whose, and which.
    settle
        Seconds a change may be on its way through the functions.
    """
    # From the end of the flow to its start: what arrives meanwhile is seen as
    # young, and not as missing further down.
    images = places.warehouse.images(tenant_id, study)
    states = places.warehouse.states(tenant_id, study)
    documents = _documents(places, tenant_id, study)
    series = ledger.series(places.database, tenant_id, study, settle)
    rows = ledger.rows(places.database, tenant_id, study)
    found, strays = {}, set()
    before = time.time() - settle
    for identity, stat in files.files_of(places.archive, tenant_id, study):
        if identity is None:
            strays.add(stat.key)
        else:
            instance = (identity.series_instance_uid, identity.sop_instance_uid)
            found[instance] = File(stat.size, stat.kept < before)
    tombstones = {
        instance: kept < before
        for instance, kept in files.tombstones_of(places.archive, tenant_id, study)
    }
    for instance in found.keys() & tombstones.keys():
        # A listing of S3 does not tell it.
        now = places.archive.stat(InstanceIdentity(tenant_id, study, *instance).key)
        if now is None:
            del found[instance]
        else:
            found[instance] = replace(found[instance], received_at=received_at(now))
    return Study(
        files=found,
        tombstones=tombstones,
        strays=frozenset(strays),
        rows=rows,
        series=series,
        documents=documents,
        images=images,
        states=states,
    )


def _documents(places: Places, tenant_id: str, study: str) -> dict[str, bytes]:
    found = {}
    keys = {"": study_metadata_key(tenant_id, study)}
    for uid in places.archive.folders(f"{tenant_id}/{study}/"):
        if _is_uid(uid):
            keys[uid] = SeriesIdentity(tenant_id, study, uid).metadata_key
    for uid, key in keys.items():
        content = read_whole_document(places.archive, key)
        if content is not None:
            found[uid] = content
    return found
