"""The effects: ask PostgreSQL, and the metadata documents for what it does not hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.qido_rs.attributes import STORED, Level
from functions.qido_rs.query import Query
from functions.qido_rs.sql import build
from pacsless.dicom import document
from pacsless.errors import NotFound, Unprocessable
from pacsless.events import Json
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.metadata import read_attributes, read_document

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.postgres import Database, Row
    from pacsless.settings import Settings

MORE: Final = "There are additional results that can be requested."
"""PS3.18 §8.3.4.4.1 wants their number here; counting every match to say it
would make each page of a large archive as dear as its whole list."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found."""

    matches: list[str]
    """A DICOM JSON object each."""
    warnings: tuple[str, ...]


def search(
    query: Query,
    tenant_id: str,
    base_url: str,
    *,
    archive: Archive,
    database: Database,
    settings: Settings,
) -> Results:
    """Answer a search."""
    statement = build(query, tenant_id, base_url)
    rows = database.run(lambda t: t.run(statement.text, **statement.parameters))
    warnings = query.warnings
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        warnings += (MORE,)
    if query.level is Level.INSTANCES:
        texts = _instances(query, rows, tenant_id, archive, settings)
    else:
        texts = [text for (text,) in rows]
    return Results(texts, warnings)


def _instances(
    query: Query, rows: list[Row], tenant_id: str, archive: Archive, settings: Settings
) -> list[str]:
    """Add the image-level attributes, which the ledger does not hold."""
    known: dict[SeriesIdentity, dict[str, Json]] = {}
    wanted = query.shown - STORED[Level.STUDIES] - STORED[Level.SERIES]
    texts = []
    for study, series_uid, sop, text in rows:
        series = SeriesIdentity(tenant_id, study, series_uid)
        if series not in known:
            known[series] = _described(archive, series)
        stated = known[series].get(sop)
        if stated is None:
            # The documents follow the index by a moment, and nothing that is
            # found may be less than it will be a moment later.
            identity = InstanceIdentity(tenant_id, study, series_uid, sop)
            stated = _from_object(archive, identity, settings)
        if not query.everything:
            stated = {tag: one for tag, one in stated.items() if tag in wanted}
        answer = stated | json.loads(text)
        texts.append(json.dumps(dict(sorted(answer.items())), separators=(",", ":")))
    return texts


def _described(archive: Archive, series: SeriesIdentity) -> dict[str, Json]:
    """Instances of a series' metadata document, by SOP Instance UID."""
    found = {}
    for line in document.lines(read_document(archive, series.metadata_key) or b"[]"):
        try:
            attributes = json.loads(line)
            found[attributes["00080018"]["Value"][0]] = attributes
        except (ValueError, LookupError, TypeError):
            continue  # damaged: the object itself is read
    return found


def _from_object(archive: Archive, identity: InstanceIdentity, settings: Settings) -> Json:
    try:
        return read_attributes(archive, identity, settings)
    except (NotFound, Unprocessable):
        return {}  # the ledger's answer is what there is
