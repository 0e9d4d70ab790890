"""The effects on the index: which resources there are, and what is shown of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from functions.orthanc import sql
from functions.orthanc.ids import Ids
from functions.orthanc.levels import Level
from functions.orthanc.resources import Format, describe, orthanc_time, sizes
from functions.orthanc.sql import Conditions, Page
from pacsless.archive import Archive, open_archive
from pacsless.entries import EntryMemory
from pacsless.errors import NotFound
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_instances
from pacsless.orthanc_ids import digest_of, id_digest, orthanc_id
from pacsless.postgres import Database
from pacsless.searches import search_index
from pacsless.settings import Settings
from pacsless.strict_json import loads

if TYPE_CHECKING:
    from pacsless.postgres import Row
    from pacsless.statement import Statement

_IDS_AT_ONCE: Final = 2_000
_FOUND_AT_ONCE: Final = 20_000
"""Of a search, which may find all matches again for each page."""
_SHOWN_AT_ONCE: Final = 50
_MOST_NAMED: Final = 1_000
"""Resources that have one name: a UID may be one of many studies, by mistake."""
EVERYTHING: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that is there."""

    level: Level
    id: str
    keys: tuple[str, ...]
    """Patient ID and UIDs, as far as its level has them."""

    def identity(self, tenant: str) -> InstanceIdentity:
        """Who an instance is."""
        return InstanceIdentity(tenant, *self.keys[1:])

    def at(self, level: Level) -> Resource:
        """Return the resource of a level above."""
        keys = self.keys[: level.depth + 1]
        return Resource(level, orthanc_id(*keys), keys)


@dataclass(frozen=True, slots=True)
class Listing:
    """Resources that are asked for, in the order of their Patient IDs or UIDs."""

    level: Level
    conditions: Conditions
    since: int = 0
    limit: int = EVERYTHING
    form: Format | None = None
    """How each is shown; None for ids alone."""
    searched: bool = False
    """Whether the conditions are a client's, and may take long."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that there is, of whatever tenant."""

    database: Database
    archive: Archive
    settings: Settings
    memory: EntryMemory
    ids: Ids

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open what the settings name."""
        return cls.on(Database.from_settings(settings), open_archive(settings), settings)

    @classmethod
    def on(cls, database: Database, archive: Archive, settings: Settings) -> Self:
        """Take what is open."""
        return cls(database, archive, settings, EntryMemory(), Ids(database))

    def check(self) -> None:
        """See that the index answers.

        Raises
        ------
        Unavailable
            If it does not.
        """
        self.database.check()

    def of(self, tenant: str) -> Index:
        """Return what there is of a tenant."""
        return Index(tenant, self)


class Index:
    """What is known of a tenant.

    Parameters
    ----------
    tenant
        Whose resources; no other's are ever seen.
    holdings
        What they are among.
    """

    def __init__(self, tenant: str, holdings: Holdings) -> None:
        self.tenant, self.holdings = tenant, holdings

    def find(self, level: Level, identifier: str) -> Resource:
        """Find a resource by its id.

        Raises
        ------
        NotFound
            If this tenant has none.
        Unavailable
            ``ids``, if many have to be looked up before it can be said.
        """
        digest = digest_of(identifier)
        found = self._noted(level, digest) if digest else None
        if digest and not found:
            self.holdings.ids.catch_up(self.tenant)
            found = self._noted(level, digest)
        if not found:
            raise NotFound("no-such-resource", "there is no such resource")
        return Resource(level, identifier, found)

    def _noted(self, level: Level, digest: bytes) -> tuple[str, ...] | None:
        for keys in self._ask(sql.noted(level, self.tenant, digest)):
            # The study may be another patient's since it was noted.
            if id_digest(*keys) == digest:
                return tuple(keys)
        return None

    def show(self, resource: Resource, form: Format) -> dict[str, Any]:
        """Describe one resource.

        Raises
        ------
        NotFound
            If it is gone.
        """
        itself = self.below(resource, resource.level)
        for one in self.resources(Listing(resource.level, itself, limit=1, form=form)):
            return dict(one)
        raise NotFound("no-such-resource", "there is no such resource")

    def resources(self, listing: Listing) -> Iterator[Any]:
        """Yield the ids, or descriptions; a page at a time is in memory."""
        level, form, left = listing.level, listing.form, listing.limit
        found_at_once = _FOUND_AT_ONCE if listing.searched else _IDS_AT_ONCE
        at_once = found_at_once if form is None else _SHOWN_AT_ONCE
        offset, after = listing.since, ()
        while left > 0:
            limit = min(left, at_once)
            page = Page(level, limit, offset, after, shown=form is not None)
            rows = self._page(page, listing)
            yield from self._shown(level, rows, form) if form else (orthanc_id(*r) for r in rows)
            if len(rows) < limit:
                return
            offset, after, left = 0, tuple(rows[-1][: level.depth + 1]), left - limit

    def _page(self, page: Page, listing: Listing) -> list[Row]:
        statement = page.of(listing.conditions)
        if not listing.searched:
            return self._ask(statement)
        otherwise = page.of(listing.conditions, matches_first=True)
        return search_index(self.holdings.database, statement, matches_first=otherwise)

    def _shown(self, level: Level, rows: Sequence[Row], form: Format) -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        if level is not Level.INSTANCE:
            yield from (describe(level, row, form, now) for row in rows)
            return
        identities = [InstanceIdentity(self.tenant, *row[1:4]) for row in rows]
        here = self.holdings
        lines = describe_instances(here.archive, identities, here.settings, here.memory)
        for row, line in zip(rows, lines, strict=True):
            yield describe(level, row, form, now, loads(line) if line else {})

    def below(self, resource: Resource, level: Level) -> Conditions:
        """Return what the resources of a level are like that are below this one, or this one."""
        conditions = Conditions(self.tenant)
        conditions.within(level, resource.keys)
        return conditions

    def within(self, level: Level, conditions: Conditions, above: Level, identifier: str) -> None:
        """Ask for what is below a resource; there may be none by this id."""
        try:
            conditions.within(level, self.find(above, identifier).keys)
        except NotFound:
            conditions.texts.append("false")

    def count(self, level: Level, conditions: Conditions) -> int:
        """Count what a search finds."""
        asked = sql.count(level, conditions)
        return int(search_index(self.holdings.database, asked, matches_first=asked)[0][0])

    def statistics(self, resource: Resource) -> dict[str, Any]:
        """Count what is below a resource, and its bytes."""
        level = max(resource.level, Level.SERIES, key=lambda one: one.depth)
        asked = sql.statistics(level, self.below(resource, level))
        instances, size, series, studies = self._ask(asked)[0]
        names = ("CountInstances", "CountSeries", "CountStudies")
        counts = dict(zip(names, (instances, series, studies), strict=True))
        return sizes(size, {name: counts[name] for name in names[: 3 - resource.level.depth]})

    def totals(self) -> dict[str, Any]:
        """Count all there is of the tenant."""
        instances, size, series, studies, patients = self._run(sql.TOTALS)[0]
        return {
            "CountInstances": instances,
            "CountPatients": patients,
            "CountSeries": series,
            "CountStudies": studies,
            "TotalDiskSize": str(size),
            "TotalDiskSizeMB": size >> 20,
            "TotalUncompressedSize": str(size),
            "TotalUncompressedSizeMB": size >> 20,
        }

    def metadata(self, resource: Resource) -> dict[str, str]:
        """Return what is known of a resource that no tag says."""
        if resource.level is not Level.INSTANCE:
            return {"LastUpdate": self.show(resource, Format.SHORT)["LastUpdate"]}
        study, series, sop = resource.keys[1:]
        rows = self._run(sql.INGESTED, study=study, series=series, sop=sop)
        if not rows:
            raise NotFound("no-such-resource", "the instance was deleted just now")
        number, received_at, syntax, sop_class = rows[0]
        return {
            **({} if number is None else {"IndexInSeries": str(number)}),
            "ReceptionDate": orthanc_time(received_at),
            "SopClassUid": sop_class,
            "TransferSyntax": syntax,
        }

    def lookup(self, name: str) -> list[dict[str, str]]:
        """Find what has a Patient ID or UID."""
        found = []
        for row in self._run(sql.LOOKUP, name=name, most=_MOST_NAMED):
            keys = [key for key in row if key is not None]
            level, identifier = list(Level)[len(keys) - 1], orthanc_id(*keys)
            path = f"/{level.plural}/{identifier}"
            found.append({"ID": identifier, "Path": path, "Type": level.kind})
        return found

    def files(self, resource: Resource) -> Iterator[tuple[InstanceIdentity, Any, Any]]:
        """Yield the instances of a resource, series by series.

        Each comes with the attributes of its study and of its series.
        """
        conditions = self.below(resource, Level.INSTANCE)
        last = ("", "", "")
        while True:
            rows = self._ask(sql.files(conditions, last, _IDS_AT_ONCE))
            for study, series, sop, of_study, of_series in rows:
                yield InstanceIdentity(self.tenant, study, series, sop), of_study, of_series
                last = study, series, sop
            if len(rows) < _IDS_AT_ONCE:
                return

    def ids_of(self, uids: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
        """Return the ids of instances, as far as their studies are there."""
        studies = sorted({study for study, _, _ in uids})
        patients = dict(self._run(sql.PATIENTS_OF, studies=studies))
        return {one: orthanc_id(patients[one[0]], *one) for one in uids if one[0] in patients}

    def newest_change(self) -> int:
        """Return the number of the newest change that has one."""
        rows = self._run(sql.NEWEST)
        return int(rows[0][0]) if rows else 0

    def _ask(self, statement: Statement) -> list[Row]:
        return self._run(statement.text, **statement.parameters)

    def _run(self, statement: str, **parameters: object) -> list[Row]:
        given = {**parameters, "tenant": self.tenant}
        return self.holdings.database.run(lambda transaction: transaction.run(statement, **given))
