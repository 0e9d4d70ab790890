"""Rebuild: every file of a tenant announced again, and nothing else written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final

from pacsless.archive import Archive
from pacsless.bus import Producer
from pacsless.errors import NotFound, PacslessError, Unprocessable
from pacsless.events import Event
from pacsless.identity import study_metadata_key
from pacsless.metadata import remove_document
from pacsless.reconcile import files, ledger
from pacsless.reconcile.backlog import Backlog
from pacsless.reconcile.look import Places
from pacsless.reconcile.position import Position, Sweep
from pacsless.reconcile.study import Instance, LedgerRow

SOURCE: Final = "/pacsless/rebuild"
PARTS: Final = ("index", "metadata", "warehouse")
_CHUNK: Final = 100
_EXAMPLES: Final = 5


class CannotRebuild(PacslessError):
    """What was asked for cannot be done."""


@dataclass(slots=True)
class Rebuilt:
    """How far a rebuild has come."""

    studies: int
    """Of the tenant."""
    done: int = 0
    """Studies announced, those of an earlier run included."""
    instances: int = 0
    """Events of this run: one a file, or one a series if only documents are made."""
    unreadable: list[str] = field(default_factory=list)
    """Archive keys, at most five, of files that cannot be read or do not say what they are."""
    unreadable_count: int = 0
    altered: list[str] = field(default_factory=list)
    """Archive keys, at most five, of files that are not what was received."""
    altered_count: int = 0
    finished: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def parts_of(text: str) -> tuple[str, ...]:
    """Read ``index,metadata``.

    Raises
    ------
    CannotRebuild
        If a part is unknown, or none is given.
    """
    wanted = {one.strip() for one in text.split(",") if one.strip()}
    if not wanted or wanted - set(PARTS):
        raise CannotRebuild("into", f"--into takes one or more of {','.join(PARTS)}")
    return tuple(one for one in PARTS if one in wanted)


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Rebuilds tenants.

    Parameters
    ----------
    places, producer, backlog
        What is read, where events go, and how many of them may wait.
    """

    places: Places
    producer: Producer
    backlog: Backlog

    def unfinished(self, tenant_id: str) -> Position | None:
        """Return where a rebuild of the tenant stopped, if one did."""
        return self._sweep(tenant_id).unfinished()

    def run(
        self,
        tenant_id: str,
        parts: Iterable[str],
        *,
        restart: bool = False,
        until: float = float("inf"),
        say: Callable[[Rebuilt], None] = lambda _so_far: None,
    ) -> Rebuilt:
        """Announce the studies of a tenant; the caller holds its lock (`position.alone`).

        Parameters
        ----------
        tenant_id
            Whose.
        parts
            What to fill, of `PARTS`.
        restart
            Whether to begin anew where an earlier run with the same parts stopped.
        until
            `time.monotonic` after which no further study is begun.
        say
            Told after each chunk.

        Raises
        ------
        NotFound
            If there is nothing to begin with: no tenant of that name, or another archive.
        Unavailable
            If something does not answer; the next run goes on from there.
        """
        scope = ",".join(sorted(parts))
        sweep = self._sweep(tenant_id)
        position = sweep.unfinished()
        from_index = scope == "metadata"
        every = self._studies(tenant_id, from_index=from_index)
        if position is None and not every:
            where = "the index has no studies" if from_index else "there are no files"
            raise NotFound("no-files", f"{where} of tenant {tenant_id}")
        if restart or position is None or position.scope != scope:
            position = sweep.begin(scope)
        if not from_index:
            ledger.raise_revision(self.places.database, self.places.warehouse.highest_revision())
        left = [one for one in every if one > position.after_study]
        so_far = Rebuilt(len(every), len(every) - len(left))
        for study in left:
            if time.monotonic() > until:
                return so_far
            before = so_far.instances
            if "metadata" in scope:
                _remove_documents(self.places.archive, tenant_id, study)
            for events in self._chunks(tenant_id, study, so_far, from_index=from_index):
                self.backlog.make_room(len(events))
                self.producer.publish(events, SOURCE)
                so_far.instances += len(events)
                say(so_far)
            so_far.done += 1
            sweep.advance(study, so_far.instances - before)
        sweep.finish()
        so_far.finished = True
        say(so_far)
        return so_far

    def _sweep(self, tenant_id: str) -> Sweep:
        return Sweep(self.places.database, tenant_id, "rebuild")

    def _studies(self, tenant_id: str, *, from_index: bool) -> list[str]:
        if from_index:
            return ledger.studies(self.places.database, tenant_id)
        return files.studies(self.places.archive, tenant_id)

    def _chunks(
        self, tenant_id: str, study: str, so_far: Rebuilt, *, from_index: bool
    ) -> Iterator[list[Event]]:
        found: Iterator[Event]
        if from_index:
            found = iter(ledger.states(self.places.database, tenant_id, study))
        else:
            rows = ledger.rows(self.places.database, tenant_id, study)
            _outrun(self.places, tenant_id, study, rows)
            found = self._stored(tenant_id, study, rows, so_far)
        while chunk := list(islice(found, _CHUNK)):
            yield chunk

    def _stored(
        self, tenant_id: str, study: str, rows: Mapping[Instance, LedgerRow], so_far: Rebuilt
    ) -> Iterator[Event]:
        archive = self.places.archive
        originals = [one for one, _ in files.files_of(archive, tenant_id, study) if one is not None]
        for identity in sorted(originals):
            try:
                row = rows.get((identity.series_instance_uid, identity.sop_instance_uid))
                yield files.stored_event(archive, identity, row.sha256 if row else None)
            except NotFound:
                continue  # removed a moment ago
            except files.Altered:
                so_far.altered_count += 1
                if len(so_far.altered) < _EXAMPLES:
                    so_far.altered.append(identity.key)
            except Unprocessable:
                so_far.unreadable_count += 1
                if len(so_far.unreadable) < _EXAMPLES:
                    so_far.unreadable.append(identity.key)


def _outrun(places: Places, tenant_id: str, study: str, rows: Mapping[Instance, LedgerRow]) -> None:
    """Renumber a study the warehouse holds newer rows of than the index.

    After an index was lost, what the gateway stored before anybody looked was
    numbered from 1 again.
    """
    series = ledger.series(places.database, tenant_id, study, 0)
    revisions = {one.revision for one in rows.values()} | {one.revision for one in series.values()}
    newest = max(revisions, default=0)
    if newest and places.warehouse.highest_revision(tenant_id, study) > newest:
        ledger.renumber(places.database, tenant_id, study)


def _remove_documents(archive: Archive, tenant_id: str, study: str) -> None:
    """Remove what there is, as a builder keeps entries it finds; readers fall back to the files."""
    key = study_metadata_key(tenant_id, study)
    for stat in archive.list(f"{key.removesuffix('.json')}/"):
        archive.remove(stat.key)
    remove_document(archive, key)
