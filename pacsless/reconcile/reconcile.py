"""Reconcile: files, ledger, documents and warehouse compared, study by study."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pacsless.errors import InvalidIdentity
from pacsless.identity import valid_tenant
from pacsless.reconcile import ledger
from pacsless.reconcile.look import Places, look, studies
from pacsless.reconcile.mend import Mend
from pacsless.reconcile.position import Sweep
from pacsless.reconcile.report import Report
from pacsless.reconcile.scrub import Scrub
from pacsless.reconcile.study import Drift, Kind, compare

SETTLE_SECONDS: Final = 60.0
"""What changed this short a time ago may be on its way through the functions."""


def tenants(places: Places) -> list[str]:
    """Return the tenants that have files or rows."""
    found = set(ledger.tenants(places.database))
    for name in places.archive.folders(""):
        try:
            found.add(valid_tenant(name))
        except InvalidIdentity:
            continue  # metadata, renditions, quarantine
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Compares tenants, and mends what it finds if it is given what to mend with.

    Parameters
    ----------
    places
        Where to look.
    mend
        None to report only.
    settle
        Seconds a change may be on its way.
    """

    places: Places
    mend: Mend | None = None
    settle: float = SETTLE_SECONDS

    def run(
        self,
        tenant_id: str,
        *,
        share: float = 0.0,
        restart: bool = False,
        until: float = math.inf,
        say: Callable[[Report, int], None] = lambda _so_far, _studies: None,
    ) -> Report:
        """Look at the studies of a tenant; the caller holds its lock (`position.alone`).

        Parameters
        ----------
        tenant_id
            Whose.
        share
            Of the files, to be read again and compared with their digests.
        restart
            Whether to begin with the first study, and not where an earlier run stopped.
        until
            `time.monotonic` after which no further study is begun; the next run
            goes on from there.
        say
            Told after each study, with the number of all.

        Raises
        ------
        Unavailable
            If something does not answer.
        """
        report = Report(tenant_id)
        if share:
            report.scrubbed = Scrub(self.places).run(
                tenant_id,
                share,
                lambda study, drift: report.add(study, [drift], frozenset()),
                # Half of the time: a large archive would never be scrubbed, or never compared.
                until=(time.monotonic() + until) / 2,
            )
        sweep = Sweep(self.places.database, tenant_id, "reconcile")
        position = (None if restart else sweep.unfinished()) or sweep.begin()
        every = studies(self.places, tenant_id)
        for study in every:
            if study <= position.after_study:
                continue
            if time.monotonic() > until:
                return report
            drifts, mended = self._study(tenant_id, study)
            report.add(study, drifts, mended)
            report.studies += 1
            sweep.advance(study, 0)
            say(report, len(every))
        sweep.finish()
        report.finished = True
        return report

    def _study(self, tenant_id: str, uid: str) -> tuple[list[Drift], frozenset[Drift]]:
        if self.mend is not None:
            # Not while the functions have much to do: what waits would look like drift.
            self.mend.backlog.make_room()
        study = look(self.places, tenant_id, uid, self.settle)
        drifts = compare(study)
        if self.mend is None or not drifts:
            return drifts, frozenset()
        mended, unreadable = self.mend(tenant_id, uid, study, drifts)
        named = {one.instance for one in unreadable}
        others = [
            one
            for one in drifts
            if one.kind is not Kind.FILE_WITHOUT_ROW or one.instance not in named
        ]
        return [*others, *unreadable], frozenset(mended)
