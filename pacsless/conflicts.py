"""``pacsless conflicts``: studies whose instances state several Patient IDs.

Which IDs is not told: it would be patient data in a terminal. The study's
metadata say it, instance by instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import click

from pacsless.postgres import Database
from pacsless.stack.local import own_or_local

_CONFLICTS: Final = """
SELECT tenant_id, study_instance_uid, cardinality(patient_ids) FROM study
WHERE cardinality(patient_ids) > 1 AND (:tenant = '' OR tenant_id = :tenant)
ORDER BY tenant_id, study_instance_uid
"""


@dataclass(frozen=True, slots=True)
class PatientConflict:
    """A study of, it seems, several patients."""

    tenant_id: str
    study_instance_uid: str
    patient_ids: int
    """How many its instances state; an empty one counts."""


def patient_conflicts(database: Database, tenant_id: str = "") -> Iterator[PatientConflict]:
    """Find the studies whose instances state several Patient IDs.

    Parameters
    ----------
    database
        The index.
    tenant_id
        Whose studies; everybody's unless given.
    """
    for row in database.run(lambda t: t.run(_CONFLICTS, tenant=tenant_id)):
        yield PatientConflict(*row)


@click.command()
@click.option("--tenant", default="", help="Of this tenant only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def conflicts(tenant: str, *, as_json: bool) -> None:
    """List studies whose instances state several Patient IDs.

    Asks PACSLESS_POSTGRES; the local stack's database unless that is set.
    """
    database = Database.from_settings(own_or_local("PACSLESS_POSTGRES"), size=1)
    found = list(patient_conflicts(database, tenant))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    if not found:
        click.echo("No study states several Patient IDs.")
        return
    click.echo(f"{'tenant':<16}{'IDs':>4}  study")
    for one in found:
        click.echo(f"{one.tenant_id:<16}{one.patient_ids:>4}  {one.study_instance_uid}")
    click.echo("\nWhich instance states which ID: …/studies/<study>/metadata, (0010,0020).")
