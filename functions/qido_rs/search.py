"""The effects: ask PostgreSQL, and the metadata documents for what it does not hold."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.qido_rs.answers import Answers
from functions.qido_rs.attributes import STORED, Level
from functions.qido_rs.private import with_private
from functions.qido_rs.query import Query
from functions.qido_rs.sql import LIMITS, build
from pacsless.dicom import document
from pacsless.errors import NotFound, TooLarge, Unavailable, Unprocessable
from pacsless.events import Json
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.metadata import read_attributes, read_document
from pacsless.postgres import TimedOut
from pacsless.strict_json import dumps

if TYPE_CHECKING:
    from functions.qido_rs.statement import Statement
    from pacsless.archive import Archive
    from pacsless.postgres import Database, Row, Transaction
    from pacsless.settings import Settings

MORE: Final = "There are additional results that can be requested."
"""PS3.18 §8.3.4.4.1 wants their number here; counting every match to say it
would make each page of a large archive as dear as its whole list."""

BRIEFLY: Final = "500ms"
AT_LENGTH: Final = "5s"
_broad: Final = threading.BoundedSemaphore(1)


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
    rows = _rows(query, build(query, tenant_id), database)
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


def _rows(query: Query, statement: Statement, database: Database) -> list[Row]:
    """Run a search: almost all take milliseconds, and of those that do not, one at a time."""
    # To fill a page, PostgreSQL either walks through all studies from the newest on, which
    # is fast if many match, or finds the matches first. It knows which by its statistics,
    # but for Fuzzy Matching, and if it was wrong the second try goes the other way.
    first, second = ("off", "on") if any(one.words for one in query.matches) else ("on", "off")

    def work(transaction: Transaction, timeout: str, walk: str) -> list[Row]:
        transaction.run(LIMITS, timeout=timeout, walk=walk)
        return transaction.run(statement.text, **statement.parameters)

    with contextlib.suppress(TimedOut):
        return database.run(lambda transaction: work(transaction, BRIEFLY, first))
    if not _broad.acquire(blocking=False):
        raise Unavailable("query", "another broad search is running: try again soon")
    try:
        return database.run(lambda transaction: work(transaction, AT_LENGTH, second))
    except TimedOut:
        # PS3.18 §10.6.3.1 has 413 for a search that is too broad.
        raise TooLarge("query", "the search is too broad: add a key that is indexed") from None
    finally:
        _broad.release()


def _with_image(
    query: Query,
    instances: Sequence[InstanceIdentity],
    answers: Sequence[Json],
    archive: Archive,
    settings: Settings,
) -> list[Json]:
    """Add the image-level attributes, which the ledger does not hold."""
    known: dict[SeriesIdentity, dict[str, Json]] = {}
    wanted = query.shown - STORED[Level.STUDIES] - STORED[Level.SERIES]
    wanted -= {f"{one.group}{one.block}{one.element}" for one in query.private}
    found = []
    for identity, answer in zip(instances, answers, strict=True):
        series = identity.series
        if series not in known:
            known[series] = _described(archive, series)
        stated = known[series].get(identity.sop_instance_uid)
        if stated is None:
            # The documents follow the index by a moment, and nothing that is
            # found may be less than it will be a moment later.
            stated = _from_object(archive, identity, settings)
        if not query.everything:
            shown = {tag: one for tag, one in stated.items() if tag in wanted}
            stated = with_private(shown, stated, query.private)
        found.append(stated | answer)
    return found


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
