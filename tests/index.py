"""extract_tags' core on a real PostgreSQL, and what it has written."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from functions.extract_tags.index import index
from pacsless.archive.files import FileArchive
from pacsless.codec import to_record
from pacsless.events import Event, InstanceDeleted, InstanceStored
from pacsless.postgres import Database
from pacsless.settings import Settings
from tests.services import REPOSITORY

VOLATILE = ["revision", "updated_at", "changed_at", "sequence", "file_time"]
"""Columns that tell when a row or a file was written, and so in which order."""


@cache
def validator(kind: str) -> Draft202012Validator:
    name = f"{kind.removeprefix('org.pacsless.')}.json"
    return Draft202012Validator(
        json.loads((REPOSITORY / "schemas" / "events" / name).read_text()),
        format_checker=FormatChecker(),
    )


class Index:
    """extract_tags' core with its resources."""

    def __init__(self, archive: FileArchive, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings)

    def __call__(self, *events: InstanceStored | InstanceDeleted) -> list[Event]:
        """Index a batch; whatever is announced obeys its schema, as it goes to Kafka."""
        found = index(events, self.archive, self.database, self.settings)
        for one in found:
            validator(one.TYPE).validate(json.loads(to_record(one, "/tests").value))
        return found

    def rows(self, sql: str, **parameters: object) -> list[Any]:
        return self.database.run(lambda t: t.run(sql, **parameters))

    def state(self, tenant: str) -> dict[str, list[Any]]:
        """Everything the index holds of a tenant, but revisions and times of writing."""
        return {
            table: self.rows(
                f"SELECT row FROM (SELECT to_jsonb(x) - CAST(:volatile AS text[]) AS row"
                f" FROM {table} AS x WHERE tenant_id = :tenant) AS rows"
                ' ORDER BY row::text COLLATE "C"',
                tenant=tenant,
                volatile=VOLATILE,
            )
            for table in ("patient", "study", "series", "instance", "change")
        }

    def revisions(self, tenant: str) -> list[Any]:
        return self.rows(
            "SELECT series_instance_uid, revision, updated_at FROM series"
            " WHERE tenant_id = :tenant ORDER BY 1",
            tenant=tenant,
        ) + self.rows(
            "SELECT sop_instance_uid, revision, received_at FROM instance"
            " WHERE tenant_id = :tenant ORDER BY 1",
            tenant=tenant,
        )
