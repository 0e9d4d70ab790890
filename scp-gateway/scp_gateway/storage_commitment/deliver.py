"""The parent's part: what no receiver works on is checked and delivered from here."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from scp_gateway.storage_commitment.commitment import Damaged, fields_of, sender_of
from scp_gateway.storage_commitment.remote import Delivery, report_to
from scp_gateway.storage_commitment.report import has_arrived
from scp_gateway.storage_commitment.work import Backoff, Judging, Outcomes, Steps

if TYPE_CHECKING:
    from scp_gateway.application_entities import Remote
    from scp_gateway.storage_commitment.check import Checker
    from scp_gateway.storage_commitment.commitment import Commitment, Result
    from scp_gateway.storage_commitment.transactions import Held, Transactions

FindRemote = Callable[[str, str], "Remote | None"]
"""Where an application entity listens, by tenant and AE title."""

_LOOK_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 3600.0
_UNCONFIGURED_SECONDS: Final = 30.0
_FAILED_SECONDS: Final = 60.0
_BACKOFF: Final = (1.0, 300.0)
_log = logging.getLogger(__name__)


class _Destination:
    """An SCU: one association at a time, and pauses when it is not there."""

    def __init__(self, backoff: tuple[float, float]) -> None:
        self.lock = threading.Lock()
        self.backoff = Backoff(*backoff)
        self.next_at = 0.0
        self.told = False
        """Whether the log says that it is not configured."""


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
        For SCUs that are reached with TLS.
    retry_seconds
        For how long a known result is tried to be delivered.
    answer_seconds
        How long an SCU may take for each of its answers.
    threads
        How many transactions are worked on at the same time.
    backoff
        Shortest and longest pause between two tries, in seconds.
    """

    def __init__(
        self,
        transactions: Transactions,
        checker: Checker,
        remote: FindRemote,
        *,
        tls: ssl.SSLContext | None = None,
        retry_seconds: float = 86_400.0,
        answer_seconds: float = 30.0,
        threads: int = 2,
        backoff: tuple[float, float] = _BACKOFF,
    ) -> None:
        super().__init__(name="storage-commitment-deliverer", daemon=True)
        self.transactions = transactions
        self.checker = checker
        self.outcomes = Outcomes("committed", "failed", "delivered", "undelivered")
        self._remote = remote
        self._tls = tls
        self._retry_seconds = retry_seconds
        self._answer_seconds = answer_seconds
        self._backoff = backoff
        self._steps = Steps(self.name, threads)
        self._known: dict[str, _Kept] = {}
        self._destinations: dict[str, _Destination] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look for transactions until `stop`."""
        swept_at = float("-inf")
        while not self._stopping.is_set():
            try:
                if time.monotonic() - swept_at >= _SWEEP_SECONDS:
                    self.transactions.sweep()
                    swept_at = time.monotonic()
                self._look()
            except OSError as error:
                _log.error("cannot look at the storage commitments", exc_info=error)
            self._stopping.wait(_LOOK_SECONDS)

    def stop(self, seconds: float) -> None:
        """Stop, and wait for a delivery that is under way."""
        self._stopping.set()
        self._steps.stop(seconds)
        if self.is_alive():
            self.join(seconds)

    def counts(self) -> dict[str, int]:
        """Count ``committed``, ``failed``, ``delivered``, ``undelivered``; and ``pending`` now.

        All but ``pending`` are of this process; add those of the receivers.
        """
        return {**self.outcomes.counts(), "pending": len(self.transactions.pending())}

    def _look(self) -> None:
        for name in self.transactions.pending():
            with self._lock:
                if name in self._known:
                    continue
                kept = self._known[name] = _Kept(self, name)
            self._steps.add(kept)

    def forget(self, name: str) -> None:
        """Leave a transaction to the next look, which finds it if it is still there."""
        with self._lock:
            self._known.pop(name, None)

    def deliver(self, held: Held, commitment: Commitment, result: Result) -> float | None:
        """Try once; None if the transaction is over, else after how many seconds to try again."""
        with self._lock:
            destination = self._destinations.setdefault(
                sender_of(held.name), _Destination(self._backoff)
            )
        if not destination.lock.acquire(blocking=False):
            return self._backoff[0]
        try:
            return self._deliver(held, commitment, result, destination)
        finally:
            destination.lock.release()

    def _deliver(
        self, held: Held, commitment: Commitment, result: Result, destination: _Destination
    ) -> float | None:
        remote = self._remote(commitment.tenant_id, commitment.calling_ae_title)
        if remote is None:
            if not destination.told:
                destination.told = True
                _log.warning(
                    "the result of a storage commitment waits, because nobody says where its SCU"
                    " listens: add the AE title to the tenant's remotes",
                    extra={"fields": fields_of(commitment)},
                )
            return self._again(
                held, commitment, result, "remote-not-configured", _UNCONFIGURED_SECONDS
            )
        destination.told = False
        pause = destination.next_at - time.monotonic()
        if pause > 0:
            # It was not there for another transaction, so it counts as tried.
            return self._again(held, commitment, result, "unreachable", pause)
        delivery = self._send(remote, commitment, result)
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

    def _send(self, remote: Remote, commitment: Commitment, result: Result) -> Delivery:
        try:
            return report_to(remote, commitment, result, self._tls, self._answer_seconds)
        except (OSError, RuntimeError, ValueError) as error:
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

    def judging(self) -> Judging:
        """Begin the check of a transaction."""
        return Judging(self.checker, self.outcomes)

    def new_backoff(self) -> Backoff:
        """Pauses of a transaction that its SCU refuses."""
        return Backoff(*self._backoff)


class _Kept:
    """A transaction as the `Deliverer` knows it; held only while something is done about it."""

    def __init__(self, deliverer: Deliverer, name: str) -> None:
        self.backoff = deliverer.new_backoff()
        self._deliverer = deliverer
        self._name = name
        self._judging = deliverer.judging()

    def __call__(self) -> float | None:
        try:
            again = self._go_on()
        except Exception:  # noqa: BLE001  # tried again, whatever it is, but not every second
            _log.exception("a storage commitment could not be worked on")
            again = _FAILED_SECONDS
        if again is None:
            self._deliverer.forget(self._name)
        return again

    def _go_on(self) -> float | None:
        held = self._deliverer.transactions.hold(self._name)
        if held is None:
            still = self._deliverer.transactions.is_pending(self._name)
            return _LOOK_SECONDS if still else None
        try:
            commitment = held.load()
            result = held.result(commitment)
            if result is None:
                again = self._judging.step(held, commitment)
                # With a result, come again at once.
                return 0.0 if again is None else again
            return self._deliverer.deliver(held, commitment, result)
        except Damaged as error:
            held.give_up()
            self._deliverer.outcomes.add("undelivered")
            _log.error(
                "a storage commitment is damaged; it is in commitments/undelivered of the spool",
                exc_info=error,
            )
            return None
        finally:
            held.release()
