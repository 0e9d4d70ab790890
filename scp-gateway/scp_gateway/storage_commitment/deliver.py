"""The parent's part: what no receiver works on is checked and delivered from here."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pacsless.errors import PacslessError
from scp_gateway.storage_commitment.commitment import fields_of
from scp_gateway.storage_commitment.destinations import Destination, Destinations
from scp_gateway.storage_commitment.kept import Kept
from scp_gateway.storage_commitment.remote import NO_TLS, Delivery, report_to
from scp_gateway.storage_commitment.report import has_arrived
from scp_gateway.storage_commitment.work import Backoff, Judging, Outcomes, Stages

if TYPE_CHECKING:
    from scp_gateway.application_entities import Remote
    from scp_gateway.storage_commitment.check import Checker
    from scp_gateway.storage_commitment.commitment import Commitment, Damaged, Result
    from scp_gateway.storage_commitment.transactions import Held, Transactions

FindRemote = Callable[[str, str], "Remote | None"]
"""Where an application entity listens, by tenant and AE title."""
FindTls = Callable[[], "ssl.SSLContext | None"]
"""What associations over TLS are made with, or None if there are none."""

_LOOK_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 3600.0
_UNCONFIGURED_SECONDS: Final = 30.0
_BACKOFF: Final = (1.0, 300.0)
_NO_REMOTE: Final = "remote-not-configured"
_MISSING: Final = {
    _NO_REMOTE: (
        "the result of a storage commitment waits, because nobody says where its SCU listens:"
        " add the AE title to the tenant's remotes"
    ),
    NO_TLS: (
        "the result of a storage commitment waits, because its SCU is to be reached with TLS and"
        " the gateway has no certificate: set PACSLESS_GATEWAY_TLS_PORT, _TLS_CERTIFICATE and"
        " _TLS_KEY"
    ),
}
_log = logging.getLogger(__name__)


class Deliverer(threading.Thread):
    """Checks and delivers every transaction that nobody else holds. Started once, in the parent.

    Parameters
    ----------
    transactions
        Where requests are kept.
    checker
        Says what is committed.
    remote
        Finds out where an SCU listens; asked anew before each delivery.
    tls
        For SCUs that are reached with TLS; asked anew before each delivery, as
        certificates expire sooner than gateways end. None if there is no TLS.
    retry_seconds
        For how long a known result is tried to be delivered.
    connect_seconds
        How long it may take to connect: a host that is switched off says nothing.
    answer_seconds
        How long an SCU may take for each of its answers.
    threads
        How many transactions are judged at the same time.
    associations
        How many SCUs are reported to at the same time.
    backoff
        Shortest and longest pause between two tries, in seconds.
    """

    def __init__(
        self,
        transactions: Transactions,
        checker: Checker,
        remote: FindRemote,
        *,
        tls: FindTls | None = None,
        retry_seconds: float = 86_400.0,
        connect_seconds: float = 5.0,
        answer_seconds: float = 30.0,
        threads: int = 2,
        associations: int = 4,
        backoff: tuple[float, float] = _BACKOFF,
    ) -> None:
        super().__init__(name="storage-commitment-deliverer", daemon=True)
        self.transactions = transactions
        self.checker = checker
        self.outcomes = Outcomes("committed", "failed", "delivered", "undelivered")
        self._remote = remote
        self._tls = tls
        self._retry_seconds = retry_seconds
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._backoff = backoff
        self._stages = Stages(self.name, threads, associations)
        self._known: dict[str, Kept] = {}
        self._destinations = Destinations(backoff)
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look for transactions until `stop`."""
        swept_at = float("-inf")
        while not self._stopping.is_set():
            try:
                if time.monotonic() - swept_at >= _SWEEP_SECONDS:
                    self._sweep()
                    swept_at = time.monotonic()
                self._look()
            except OSError as error:
                _log.error("cannot look at the storage commitments", exc_info=error)
            self._stopping.wait(_LOOK_SECONDS)

    def stop(self, seconds: float) -> None:
        """Stop, and wait for a delivery that is under way."""
        self._stopping.set()
        self._stages.stop(seconds)
        if self.is_alive():
            self.join(seconds)

    def counts(self) -> dict[str, int]:
        """Count ``committed``, ``failed``, ``delivered``, ``undelivered``; and ``pending`` now.

        All but ``pending`` are of this process; add those of the receivers.
        """
        return {**self.outcomes.counts(), "pending": len(self.transactions.pending())}

    def _sweep(self) -> None:
        self.transactions.sweep()
        if pruned := self.transactions.prune():
            _log.warning(
                "old storage commitments in commitments/undelivered were removed",
                extra={"fields": {"files": pruned}},
            )

    def _look(self) -> None:
        for name in self.transactions.pending():
            with self._lock:
                if name in self._known:
                    continue
                kept = self._known[name] = Kept(self, name)
            self._stages.add(kept)
        with self._lock:
            known = list(self._known)
        # Nobody else adds to what is known, so none that is in use is forgotten.
        self._destinations.keep(known)

    def forget(self, name: str) -> None:
        """Leave a transaction to the next look, which finds it if it is still there."""
        with self._lock:
            self._known.pop(name, None)

    def deliver(self, held: Held, commitment: Commitment, result: Result) -> float | None:
        """Try once; None if the transaction is over, else after how many seconds to try again."""
        destination = self._destinations.of(held.name)
        if not destination.lock.acquire(blocking=False):
            return self._backoff[0]
        try:
            return self._deliver(held, commitment, result, destination)
        finally:
            destination.lock.release()

    def _deliver(
        self, held: Held, commitment: Commitment, result: Result, destination: Destination
    ) -> float | None:
        remote = self._remote(commitment.tenant_id, commitment.calling_ae_title)
        if remote is None:
            return self._wait_for(_NO_REMOTE, held, commitment, result, destination)
        pause = destination.next_at - time.monotonic()
        if pause > 0:
            # It was not there for another transaction, so it counts as tried.
            return self._again(held, commitment, result, "unreachable", pause)
        delivery = self._send(remote, commitment, result)
        if delivery.problem == NO_TLS:
            return self._wait_for(NO_TLS, held, commitment, result, destination)
        destination.told = ""
        if has_arrived(delivery.status):
            destination.backoff.reset()
            held.done()
            self.outcomes.add("delivered")
            _log.info(
                "storage commitment reported",
                extra={"fields": {**fields_of(commitment), "association": "ours"}},
            )
            return None
        if delivery.status is not None:
            # The SCU is there and does not want this one; others it may.
            destination.backoff.reset()
            return self._again(held, commitment, result, f"status-{delivery.status:04X}", None)
        if destination.backoff.is_fresh:
            _log.warning(
                "the result of a storage commitment could not be delivered; it is tried again",
                extra={"fields": {**fields_of(commitment), "problem": delivery.problem}},
            )
        pause = destination.backoff.pause()
        destination.next_at = time.monotonic() + pause
        return self._again(held, commitment, result, delivery.problem, pause)

    def _wait_for(
        self,
        problem: str,
        held: Held,
        commitment: Commitment,
        result: Result,
        destination: Destination,
    ) -> float | None:
        """Say once what the configuration lacks, and wait for it."""
        if destination.told != problem:
            destination.told = problem
            _log.warning(_MISSING[problem], extra={"fields": fields_of(commitment)})
        return self._again(held, commitment, result, problem, _UNCONFIGURED_SECONDS)

    def _send(self, remote: Remote, commitment: Commitment, result: Result) -> Delivery:
        try:
            tls = self._tls() if remote.tls and self._tls is not None else None
            return report_to(
                remote,
                commitment,
                result,
                tls,
                connect_seconds=self._connect_seconds,
                answer_seconds=self._answer_seconds,
            )
        except (PacslessError, OSError, RuntimeError, ValueError) as error:
            _log.warning("an association for a storage commitment failed", exc_info=error)
            return Delivery(None, "failed")

    def _again(
        self,
        held: Held,
        commitment: Commitment,
        result: Result,
        problem: str,
        pause: float | None,
    ) -> float | None:
        """Say when to try again, or give up; without a `pause` the transaction has its own."""
        if time.time() - result.decided_at > self._retry_seconds:
            held.give_up()
            self.outcomes.add("undelivered")
            _log.error(
                "the result of a storage commitment was not delivered in time; it is in"
                " commitments/undelivered of the spool",
                extra={"fields": {**fields_of(commitment), "problem": problem}},
            )
            return None
        return self._pause_of(held.name) if pause is None else pause

    def _pause_of(self, name: str) -> float:
        with self._lock:
            kept = self._known.get(name)
        return self._backoff[0] if kept is None else kept.backoff.pause()

    def give_up_damaged(self, held: Held, error: Damaged) -> None:
        """Move a transaction aside that nobody can read."""
        held.give_up()
        self.outcomes.add("undelivered")
        _log.error(
            "a storage commitment is damaged; it is in commitments/undelivered of the spool",
            exc_info=error,
        )

    def judging(self) -> Judging:
        """Begin the check of a transaction."""
        return Judging(self.checker, self.outcomes)

    def new_backoff(self) -> Backoff:
        """Pauses of a transaction that its SCU refuses."""
        return Backoff(*self._backoff)
