"""One turn of the timer: an unfinished rebuild goes on, then every tenant is compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pacsless.archive import open_archive
from pacsless.bus import Producer
from pacsless.errors import Busy, PacslessError
from pacsless.postgres import Database
from pacsless.reconcile import ledger
from pacsless.reconcile.backlog import Backlog
from pacsless.reconcile.look import Places
from pacsless.reconcile.mend import Mend
from pacsless.reconcile.position import alone
from pacsless.reconcile.rebuild import Rebuild
from pacsless.reconcile.reconcile import SETTLE_SECONDS, Reconcile, tenants
from pacsless.reconcile.scrub import share_of
from pacsless.reconcile.warehouse import WarehouseRows
from pacsless.settings import Settings

_PATIENCE: Final = 30.0
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweeper:
    """What the command and the function share: both tasks and all they need."""

    settings: Settings
    places: Places
    producer: Producer
    backlog: Backlog

    @classmethod
    def from_settings(cls, settings: Settings, patience: float = _PATIENCE) -> Self:
        """Take every address from the settings; nothing is connected yet."""
        places = Places(
            open_archive(settings),
            Database.from_settings(settings, size=4),
            WarehouseRows.from_settings(settings),
        )
        producer = Producer(settings, "pacsless-reconcile")
        return cls(settings, places, producer, Backlog(settings, patience=patience))

    def check(self) -> None:
        """Raise `Unavailable` if PostgreSQL does not answer; readiness calls it."""
        self.places.database.check()

    def close(self) -> None:
        """Disconnect."""
        self.producer.close()
        self.places.warehouse.close()
        self.places.database.close()

    def raise_revision(self) -> None:
        """See that revisions to come are newer than the warehouse's, which searches whole tables.

        Raises
        ------
        Unavailable
            If something does not answer.
        """
        ledger.raise_revision(self.places.database, self.places.warehouse.highest_revision())

    @property
    def rebuild(self) -> Rebuild:
        """The task of rebuilding."""
        return Rebuild(self.places, self.producer, self.backlog)

    def reconcile(self, *, repair: bool, settle: float = SETTLE_SECONDS) -> Reconcile:
        """Return the task of reconciling; before it repairs, `raise_revision`."""
        mend = Mend(self.places, self.producer, self.backlog) if repair else None
        return Reconcile(self.places, mend, settle)

    def turn(self, only: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Do a turn of the timer within ``PACSLESS_RECONCILE_SECONDS``.

        Parameters
        ----------
        only
            Tenants; all unless given.

        Returns
        -------
        list of dict
            Reports of the tenants, as JSON has them.

        Raises
        ------
        Unavailable
            If something does not answer; the other tenants had their part.
        """
        settings = self.settings
        share = share_of(settings.reconcile_scrub)
        names = list(only) or tenants(self.places)
        began = time.monotonic()
        if settings.reconcile_repair:
            self.raise_revision()
        found: list[dict[str, Any]] = []
        failed: PacslessError | OSError | None = None
        for number, tenant_id in enumerate(names, 1):
            # An equal part of what is left, so that a large tenant starves none.
            now = time.monotonic()
            left = began + settings.reconcile_seconds - now
            until = now + left / (len(names) - number + 1)
            try:
                with alone(self.places.database, tenant_id):
                    found.append(self._tenant(tenant_id, share, until))
            except Busy:
                found.append({"tenant": tenant_id, "busy": True})
            except (PacslessError, OSError) as error:
                # One tenant's folder must not keep the others from being swept.
                fields = {"tenant": tenant_id, "error": type(error).__name__}
                _log.warning("sweep failed", extra={"fields": fields})
                failed = failed or error
                if time.monotonic() > began + settings.reconcile_seconds:
                    break
        if failed is not None:
            raise failed
        return found

    def _tenant(self, tenant_id: str, share: float, until: float) -> dict[str, Any]:
        if (position := self.rebuild.unfinished(tenant_id)) is not None:
            rebuilt = self.rebuild.run(tenant_id, position.scope.split(","), until=until)
            return {"tenant": tenant_id, "rebuilt": rebuilt.instances, "finished": rebuilt.finished}
        task = self.reconcile(repair=self.settings.reconcile_repair)
        report = task.run(tenant_id, share=share, until=until).as_dict()
        if report["drift"]:
            _log.warning("drift", extra={"fields": report})
        return report
