"""Rows of patients: written by whoever states them best, gone with the last of their studies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from functions.extract_tags import sql
from functions.extract_tags.rows import StudyKey, as_json, description
from functions.extract_tags.tags import Description, Level, best
from pacsless.orthanc_ids import id_digest

if TYPE_CHECKING:
    from pacsless.events import Json
    from pacsless.postgres import Transaction

PatientKey = tuple[str, str]
"""Tenant and Patient ID."""

_MOST_STUDIES: Final = 20
"""Studies of a patient that are read for another description: there are IDs that everybody has."""


def write_patients(
    transaction: Transaction, stated: Iterable[tuple[PatientKey, Description]]
) -> None:
    """Write patients as instances state them."""
    found = best(stated)
    ordered = sorted(found.items(), key=lambda item: item[0])
    transaction.run(sql.UPSERT_PATIENTS, rows=as_json(_row(*one) for one in ordered))


def forget_patients(
    transaction: Transaction,
    patients: Iterable[PatientKey],
    removed: Collection[str],
    described: Callable[[StudyKey], Mapping[Level, Description]],
) -> None:
    """Remove patients of whom there is no study; describe others anew whose instance is gone.

    Parameters
    ----------
    transaction
        Of the removal.
    patients
        Those of the studies that had instances removed.
    removed
        SOP Instance UIDs.
    described
        Reads how what there is of a study describes it.
    """
    rows = as_json({"tenant_id": one[0], "patient_id": one[1]} for one in sorted(patients))
    gone = transaction.run(sql.REMOVE_PATIENTS, rows=rows)
    if gone:
        ids = ({"tenant_id": t, "orthanc_id": f"\\x{id_digest(p).hex()}"} for t, p in gone)
        transaction.run(sql.FORGET_ORTHANC_IDS, rows=as_json(ids))
    candidates: list[tuple[PatientKey, Description]] = []
    for tenant, patient, described_by, study in transaction.run(
        sql.STUDIES_OF_PATIENTS, rows=rows, most=_MOST_STUDIES
    ):
        if described_by in removed:
            left = described((tenant, study)).get(("patient", patient))
            candidates += [((tenant, patient), left)] if left else []
    found = best(candidates)
    if found:
        rows = as_json(_row(*one) for one in sorted(found.items(), key=lambda item: item[0]))
        transaction.run(sql.UPDATE_PATIENTS, rows=rows)


def _row(key: PatientKey, one: Description) -> Json:
    return {"tenant_id": key[0], "patient_id": key[1]} | description(one)
