"""The effects: ask PostgreSQL, and the metadata documents for what it does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.qido_rs.answers import Answers
from functions.qido_rs.attributes import STORED, Level
from functions.qido_rs.private import with_private
from functions.qido_rs.query import Query
from functions.qido_rs.sql import build
from pacsless.dicom import document
from pacsless.errors import NotFound, Unprocessable
from pacsless.events import Json
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.metadata import read_attributes, read_document
from pacsless.searches import search_index
from pacsless.strict_json import dumps

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.postgres import Database
    from pacsless.settings import Settings

MORE: Final = "There are additional results that can be requested."
"""PS3.18 §8.3.4.4.1 wants their number here; counting every match to say it
would make each page of a large archive as dear as its whole list."""
_FEW: Final = 8
"""Instances that are looked for in a document, instead of reading all that it has."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found."""

    matches: list[bytes]
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
    fuzzy = any(one.words for one in query.matches)
    rows = search_index(database, build(query, tenant_id), fuzzy=fuzzy)
    warnings = query.warnings
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        warnings += (MORE,)
    answers = Answers(query, base_url)
    found = [answers.answer(row) for row in rows]
    if query.level is Level.INSTANCES:
        instances = [InstanceIdentity(tenant_id, *row[:3]) for row in rows]
        found = _with_image(query, instances, found, archive, settings)
    return Results([dumps(dict(sorted(one.items()))) for one in found], warnings)


def _with_image(
    query: Query,
    instances: Sequence[InstanceIdentity],
    answers: Sequence[Json],
    archive: Archive,
    settings: Settings,
) -> list[Json]:
    """Add the image-level attributes, which the ledger does not hold."""
    of_series: dict[SeriesIdentity, list[str]] = {}
    for identity in instances:
        of_series.setdefault(identity.series, []).append(identity.sop_instance_uid)
    known = {series: _described(archive, series, uids) for series, uids in of_series.items()}
    wanted = query.shown - STORED[Level.STUDIES] - STORED[Level.SERIES]
    wanted -= {f"{one.group}{one.block}{one.element}" for one in query.private}
    found = []
    for identity, answer in zip(instances, answers, strict=True):
        stated = known[identity.series].get(identity.sop_instance_uid)
        if stated is None:
            # The documents follow the index by a moment, and nothing that is
            # found may be less than it will be a moment later.
            stated = _from_object(archive, identity, settings)
        if not query.everything:
            shown = {tag: one for tag, one in stated.items() if tag in wanted}
            stated = with_private(shown, stated, query.private)
        found.append(stated | answer)
    return found


def _described(archive: Archive, series: SeriesIdentity, wanted: Sequence[str]) -> dict[str, Json]:
    """Instances of a series' metadata document, by SOP Instance UID: at least those wanted."""
    content = read_document(archive, series.metadata_key) or b"[]"
    found = {}
    for line in _entries(content, wanted):
        try:
            attributes = json.loads(line)
            found[attributes["00080018"]["Value"][0]] = attributes
        except (ValueError, LookupError, TypeError):
            continue  # damaged: the object itself is read
    return found


def _entries(content: bytes, wanted: Sequence[str]) -> Iterator[bytes]:
    if len(wanted) > _FEW:
        yield from document.lines(content)
        return
    for uid in wanted:
        with suppress(ValueError):  # damaged, too
            if (line := document.find(content, uid)) is not None:
                yield line


def _from_object(archive: Archive, identity: InstanceIdentity, settings: Settings) -> Json:
    try:
        return read_attributes(archive, identity, settings)
    except (NotFound, Unprocessable):
        return {}  # the ledger's answer is what there is
