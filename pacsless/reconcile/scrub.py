"""Scrub: whether the files are still what was received."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from pacsless.errors import BadRequest, NotFound
from pacsless.identity import InstanceIdentity
from pacsless.reconcile import files, ledger
from pacsless.reconcile.look import Places
from pacsless.reconcile.position import Sweep
from pacsless.reconcile.study import Drift, Kind, LedgerRow
from pacsless.tombstones import is_deleted, received_at


def share_of(text: str) -> float:
    """Read ``5%``, ``all`` or nothing as a share from 0 to 1.

    Raises
    ------
    BadRequest
        If it is neither.
    """
    if text in ("", "all"):
        return 1.0 if text else 0.0
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = math.nan
    if not text.endswith("%") or not 0 <= share <= 1:
        raise BadRequest("scrub", "a scrub takes a share of the files: 5%, or all")
    return share


@dataclass(frozen=True, slots=True)
class Scrub:
    """Reads files again and compares their digests with the ledger's.

    It goes through a tenant's studies in the order of their UIDs, a share of
    them each run, from where the last run stopped; then from the first again.
    """

    places: Places

    def run(
        self,
        tenant_id: str,
        share: float,
        found: Callable[[str, Drift], None],
        *,
        until: float = math.inf,
    ) -> int:
        """Read a share of the tenant's files.

        Parameters
        ----------
        tenant_id, share
            Whose, and the files of how many of the studies, 0 to 1.
        found
            Told of each file that is not what was received, with its study.
        until
            `time.monotonic` after which no further study is begun.

        Returns
        -------
        int
            Files read.
        """
        database = self.places.database
        sweep = Sweep(database, tenant_id, "scrub")
        every = ledger.studies(database, tenant_id)
        wanted = math.ceil(share * len(every))
        read = 0
        position = sweep.unfinished() or sweep.begin()
        after = [one for one in every if one > position.after_study]
        # From the first again, but no study twice in a run.
        for study in [*after, *every[: len(every) - len(after)]][:wanted]:
            if time.monotonic() > until:
                break
            read_now = self._study(tenant_id, study, found)
            read += read_now
            if study == every[0]:
                sweep.begin()
            sweep.advance(study, read_now)
        return read

    def _study(self, tenant_id: str, study: str, found: Callable[[str, Drift], None]) -> int:
        read = 0
        for (series, sop), row in sorted(
            ledger.rows(self.places.database, tenant_id, study).items()
        ):
            identity = InstanceIdentity(tenant_id, study, series, sop)
            try:
                is_other = files.digest_of(self.places.archive, identity.key) != row.sha256
                if is_other and not self._is_stored_again(identity, row):
                    found(study, Drift(Kind.OTHER_DIGEST, series, sop))
            except NotFound:
                continue  # the comparison says so
            except files.Unreadable:
                found(study, Drift(Kind.FILE_UNREADABLE, series, sop))
                continue
            read += 1
        return read

    def _is_stored_again(self, identity: InstanceIdentity, row: LedgerRow) -> bool:
        """Whether a row is about a file that was deleted: the comparison says so."""
        stat = self.places.archive.stat(identity.key)
        is_other_file = stat is not None and received_at(stat) != row.file_time
        return is_other_file and is_deleted(self.places.archive, identity)
