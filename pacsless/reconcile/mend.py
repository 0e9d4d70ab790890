"""Mending what a comparison found: announcing it, so that the functions do it again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pacsless.bus import Producer
from pacsless.errors import NotFound, Unprocessable
from pacsless.events import Event
from pacsless.identity import InstanceIdentity
from pacsless.reconcile import files, ledger
from pacsless.reconcile.backlog import Backlog
from pacsless.reconcile.deleted import OF_DELETED, deletions
from pacsless.reconcile.look import Places
from pacsless.reconcile.study import Drift, Instance, Kind, Study

SOURCE: Final = "/pacsless/reconcile"
_CHUNK: Final = 100


@dataclass(frozen=True, slots=True)
class Mend:
    """Mends studies.

    Parameters
    ----------
    places, producer, backlog
        What is read, where events go, and how many of them may wait.
    """

    places: Places
    producer: Producer
    backlog: Backlog

    def __call__(
        self, tenant_id: str, uid: str, study: Study, drifts: Sequence[Drift]
    ) -> tuple[set[Drift], list[Drift]]:
        """Announce what has drifted.

        Returns
        -------
        set of Drift
            Those that are mended by what was announced.
        list of Drift
            What was found out on the way: files that must not be announced.
        """
        wanted = [one for one in drifts if not one.kind.is_alarm]
        new = {one.instance for one in wanted if one.kind is Kind.FILE_WITHOUT_ROW}
        if new:
            new -= ledger.announced(self.places.database, tenant_id, uid)
        deleted = {one for one in wanted if one.kind in OF_DELETED}
        again = {
            one.instance
            for one in wanted
            if one.sop and one.kind is not Kind.FILE_WITHOUT_ROW and one not in deleted
        }
        if any(one.kind is Kind.WAREHOUSE_AHEAD for one in wanted):
            ledger.renumber(self.places.database, tenant_id, uid)
            again |= study.rows.keys()
        tried = new | (again & study.files.keys())
        done, alarms = self._files(tenant_id, uid, tried, study)
        if new & done:
            ledger.note_announced(self.places.database, tenant_id, uid, new & done)
        if deleted:
            revision = ledger.next_revision(self.places.database)
            events = list(
                deletions((tenant_id, uid), study, deleted, revision, self.places.archive)
            )
            for start in range(0, len(events), _CHUNK):
                self._publish(events[start : start + _CHUNK])
        left = [one for one in wanted if one not in deleted]
        self._series(tenant_id, uid, {one.series for one in left if not one.sop})
        return deleted | {one for one in left if not one.sop or one.instance in done}, alarms

    def _files(
        self, tenant_id: str, uid: str, wanted: Collection[Instance], study: Study
    ) -> tuple[set[Instance], list[Drift]]:
        """Announce files; return which, and those that must not be: changed, or unreadable."""
        done: set[Instance] = set()
        alarms: list[Drift] = []
        chunk: list[Event] = []
        for instance in sorted(wanted):
            try:
                identity = InstanceIdentity(tenant_id, uid, *instance)
                row = study.rows.get(instance)
                known = None if row is None or study.is_of_deleted(instance) else row.sha256
                chunk.append(files.stored_event(self.places.archive, identity, known))
                done.add(instance)
            except NotFound:
                continue  # removed a moment ago
            except files.Altered:
                alarms.append(Drift(Kind.OTHER_DIGEST, *instance))
            except Unprocessable:
                alarms.append(Drift(Kind.FILE_UNREADABLE, *instance))
            if len(chunk) >= _CHUNK:
                self._publish(chunk)
                chunk = []
        self._publish(chunk)
        return done, alarms

    def _series(self, tenant_id: str, uid: str, wanted: Collection[str]) -> None:
        if not wanted:
            return
        states = ledger.states(self.places.database, tenant_id, uid)
        # The study's document and row are made from any of its series.
        chosen = [one for one in states if one.series_instance_uid in wanted]
        self._publish(chosen if "" not in wanted else states)

    def _publish(self, events: Sequence[Event]) -> None:
        if events:
            self.backlog.make_room(len(events))
            self.producer.publish(events, SOURCE)
