"""Storage commitment in a receiver: take requests, check, report on the asking association."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from pacsless.errors import PacslessError
from scp_gateway.storage_commitment.commitment import fields_of
from scp_gateway.storage_commitment.report import event_information, event_type_id, has_arrived
from scp_gateway.storage_commitment.request import ActionStatus, Declined, Reply, parse
from scp_gateway.storage_commitment.work import Backoff, Judging, Outcomes, Stages

if TYPE_CHECKING:
    from pacsless.storage import Sender
    from scp_gateway.storage_commitment.check import Checker
    from scp_gateway.storage_commitment.commitment import Commitment, Result
    from scp_gateway.storage_commitment.transactions import Held, Transactions

_BUSY_SECONDS: Final = 1.0
# None that comes sooner than this part of the time means that nobody is there.
_PATIENCE: Final = 0.8
# An SCU may send much and read nothing meanwhile. Then it and the gateway would
# wait for each other, were a report larger than what the sockets between them hold.
_MAX_REPORT_BYTES: Final = 256 << 10
_log = logging.getLogger(__name__)


class EventReporter(Protocol):
    """An association that N-EVENT-REPORT-RQs can be sent on."""

    @property
    def transfer_syntax(self) -> str:
        """Of the context of storage commitment: Implicit or Explicit VR Little Endian."""
        ...

    def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
        """Send an N-EVENT-REPORT-RQ once the association is idle, and return the SCU's status.

        Returns
        -------
        int or None
            None if the association has ended, which it says at once; or if it
            stayed busy or nothing came back, which takes `seconds`.
        """
        ...


class StorageCommitmentService:
    """Takes storage commitment requests; thread-safe. Make it after the process has forked.

    Parameters
    ----------
    transactions
        Where requests are kept.
    checker
        Says what is committed.
    threads
        How many transactions are judged, and how many reported, at the same time.
    report_after_seconds
        How long to wait with the first report. Many SCUs release as soon as they
        have the N-ACTION-RSP, and one that has asked for the release may be
        confused by what comes then (PS3.8 §9.2.3, Sta7).
    report_seconds
        How long the asking association may take to answer a report.
    hold_seconds
        How long to try the asking association before the `Deliverer` may try another.
    max_active
        How many transactions wait here; others are the `Deliverer`'s at once.
    """

    def __init__(
        self,
        transactions: Transactions,
        checker: Checker,
        *,
        threads: int = 2,
        report_after_seconds: float = 1.0,
        report_seconds: float = 10.0,
        hold_seconds: float = 60.0,
        max_active: int = 256,
    ) -> None:
        self.transactions = transactions
        self.checker = checker
        self.report_after_seconds = report_after_seconds
        self.report_seconds = report_seconds
        self.hold_seconds = hold_seconds
        self.outcomes = Outcomes("committed", "failed", "delivered")
        self._max_active = max_active
        self._stages = Stages("storage-commitment", threads, threads)
        self._active: set[_Asked] = set()
        self._lock = threading.Lock()
        # A request may take 50 MB while it is read.
        self._reading = threading.Lock()

    def request(  # noqa: PLR0917  # an N-ACTION-RQ has as many parts
        self,
        sender: Sender,
        sop_class_uid: str,
        sop_instance_uid: str,
        action_type_id: int | None,
        information: bytes,
        transfer_syntax: str,
        reporter: EventReporter,
    ) -> Reply:
        """Take an N-ACTION-RQ, and say what to answer; durable on return.

        Parameters
        ----------
        sender
            Who asks.
        sop_class_uid, sop_instance_uid, action_type_id
            Of the command set.
        information
            The data set; `MAX_INFORMATION_BYTES` at most.
        transfer_syntax
            Of the data set.
        reporter
            The association, for the result.
        """
        try:
            with self._reading:
                request = parse(
                    sop_class_uid, sop_instance_uid, action_type_id, information, transfer_syntax
                )
                name, held = self.transactions.add(sender, request)
        except Declined as error:
            return error.reply
        except PacslessError as error:
            _log.warning("a storage commitment request could not be kept", exc_info=error)
            return Reply(int(ActionStatus.RESOURCE_LIMITATION), str(error)[:64])
        self._begin(_Asked(self, name, held, reporter))
        return Reply(int(ActionStatus.SUCCESS))

    def counts(self) -> dict[str, int]:
        """How many requests were ``committed``, ``failed`` and ``delivered`` here."""
        return self.outcomes.counts()

    def stop(self, seconds: float) -> None:
        """Stop, and leave what is not finished to the `Deliverer`."""
        self._stages.stop(seconds)
        with self._lock:
            left = list(self._active)
        for one in left:
            one.end()

    def forget(self, asked: _Asked) -> None:
        """Forget a transaction; whatever is left to do is the `Deliverer`'s."""
        with self._lock:
            self._active.discard(asked)

    def _begin(self, asked: _Asked) -> None:
        with self._lock:
            full = len(self._active) >= self._max_active
            if not full:
                self._active.add(asked)
        if full:
            asked.release()
        else:
            self._stages.add(asked)


class _Asked:
    """A transaction, and the association that asked for it."""

    def __init__(
        self,
        service: StorageCommitmentService,
        name: str,
        held: Held | None,
        reporter: EventReporter,
    ) -> None:
        self._service = service
        self._name = name
        self._held = held
        self._reporter = reporter
        self._judging = Judging(service.checker, service.outcomes)
        self._backoff = Backoff(1.0, 30.0)
        now = time.monotonic()
        self._until = now + service.checker.wait_seconds + service.hold_seconds
        self._report_at = now + service.report_after_seconds
        self._first_report: float | None = None

    def judge(self) -> float | None:
        if self._held is None:
            # It was asked for before, and whoever is at it may find that its
            # association has ended; this one is there.
            self._held = self._service.transactions.hold(self._name)
        if self._held is None:
            pending = self._service.transactions.is_pending(self._name)
            return _BUSY_SECONDS if pending and time.monotonic() < self._until else None
        commitment = self._held.load()
        if self._held.result(commitment) is not None:
            return None
        return self._judging.step(self._held, commitment)

    def report(self) -> float | None:
        held = self._held
        if held is None:
            return None
        early = self._report_at - time.monotonic()
        if early > 0:
            return early
        commitment = held.load()
        result = held.result(commitment)
        return None if result is None else self._report(held, commitment, result)

    def end(self) -> None:
        self.release()
        self._service.forget(self)

    def release(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None

    def _report(self, held: Held, commitment: Commitment, result: Result) -> float | None:
        began = time.monotonic()
        if self._first_report is None:
            self._first_report = began
        seconds = self._service.report_seconds
        information = event_information(
            commitment.transaction_uid,
            commitment.references,
            result.failures,
            self._reporter.transfer_syntax,
        )
        if len(information) > _MAX_REPORT_BYTES:
            _log.info(
                "the result of a storage commitment is too large for the association that asked;"
                " it goes on another",
                extra={"fields": {**fields_of(commitment), "bytes": len(information)}},
            )
            return None
        status = self._reporter.report(event_type_id(result.failures), information, seconds)
        if has_arrived(status):
            held.done()
            self._held = None
            self._service.outcomes.add("delivered")
            _log.info(
                "storage commitment reported",
                extra={"fields": {**fields_of(commitment), "association": "theirs"}},
            )
            return None
        now = time.monotonic()
        ended = status is None and now - began < seconds * _PATIENCE
        pause = self._backoff.pause()
        if ended or now + pause - self._first_report > self._service.hold_seconds:
            return None
        return pause
