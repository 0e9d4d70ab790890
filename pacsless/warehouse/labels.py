"""What became of each load, by label.

Doris forgets a label 12 hours after its load (``streaming_label_keep_max_second``)
and keeps 2,000 finished ones of a database (``label_num_threshold``), whichever
comes first; so does this, or a client that trusts labels for longer would look right.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

KEEP_SECONDS: Final = 12 * 3600
KEEP_LOADS: Final = 2000


class LabelExists(Exception):
    """The label is taken; `job_status` is what a back end says of it."""

    def __init__(self, label: str, job_status: str) -> None:
        super().__init__(label)
        self.job_status = job_status


@dataclass(frozen=True, slots=True)
class Transaction:
    """A load."""

    id: int
    label: str
    state: str
    at: float
    """Seconds since 1970 when it entered its state."""


class Labels:
    """The label table, in memory; the warehouse stores the committed ones.

    An aborted label may be used again; it is known only so that it can be told.

    Parameters
    ----------
    finished
        Loads that are committed, oldest first.
    keep_seconds, keep_loads
        How long and how many finished loads are remembered.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        finished: Iterable[Transaction] = (),
        *,
        keep_seconds: float = KEEP_SECONDS,
        keep_loads: int = KEEP_LOADS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._keep_loads = keep_loads
        self._running: dict[str, Transaction] = {}
        self._finished = OrderedDict((one.label, one) for one in finished)
        self._next = max((one.id for one in self._finished.values()), default=0) + 1

    def begin(self, label: str) -> Transaction:
        """Take a label for a load.

        Raises
        ------
        LabelExists
            If a load has it that is running or committed.
        """
        with self._lock:
            self._forget()
            if label in self._running:
                raise LabelExists(label, "RUNNING")
            if label in self._finished and self._finished[label].state == "VISIBLE":
                raise LabelExists(label, "FINISHED")
            transaction = Transaction(self._next, label, "PREPARE", self._clock())
            self._next += 1
            self._running[label] = transaction
            return transaction

    def finish(self, transaction: Transaction, state: str) -> None:
        """End a load as ``VISIBLE`` or ``ABORTED``."""
        with self._lock:
            self._running.pop(transaction.label, None)
            self._finished.pop(transaction.label, None)
            self._finished[transaction.label] = Transaction(
                transaction.id, transaction.label, state, self._clock()
            )
            self._forget()

    def state(self, label: str) -> str:
        """State of a load as the front end tells it: ``UNKNOWN`` if there is none."""
        with self._lock:
            self._forget()
            found = self._running.get(label) or self._finished.get(label)
            return found.state if found else "UNKNOWN"

    def oldest(self) -> int:
        """Id of the oldest load that is running or remembered."""
        with self._lock:
            self._forget()
            known = (*self._finished.values(), *self._running.values())
            return min((one.id for one in known), default=self._next)

    def _forget(self) -> None:
        limit = self._clock() - self._keep_seconds
        while self._finished:
            first = next(iter(self._finished.values()))
            if first.at >= limit and len(self._finished) <= self._keep_loads:
                return
            self._finished.popitem(last=False)
