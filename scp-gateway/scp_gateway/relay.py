"""From the outbox to Kafka, for as long as it takes."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from pacsless.codec import Record
from pacsless.outbox import Backlog, Entry

_WINDOW: Final = 2000
"""Entries sent and not acknowledged, at most."""
_BATCH: Final = 1000
_WAIT_SECONDS: Final = 0.2
_PACE_SECONDS: Final = 0.2
"""Between what is sent in a burst (DECISIONS.md, "five times a second")."""
_PATIENCE_SECONDS: Final = 45.0
"""Without a word on what is on its way; more than the producer's delivery timeout."""
_BACK_OFF: Final = (0.2, 5.0)
_NICE: Final = 10
_log = logging.getLogger(__name__)


class RecordSender(Protocol):
    """What the relay needs of `pacsless.bus.Producer`."""

    def send_record(self, record: Record, on_done: Callable[[BaseException | None], None]) -> None:
        """Send a record; `on_done` is told how it went, from any thread."""
        ...

    def reset(self) -> None:
        """Drop the connection and what is on its way; the next use connects anew."""
        ...


class Relay(threading.Thread):
    """Publishes entries in the order of each outbox, and marks them done on the broker's word.

    When one fails, or nothing comes back for too long, the connection is dropped
    and all that was on its way goes again over a new one, in order and with the
    same event ids: Kafka may get some twice, and none out of order after the last.
    """

    def __init__(
        self, backlog: Backlog, producer: RecordSender, patience: float = _PATIENCE_SECONDS
    ) -> None:
        super().__init__(name="relay", daemon=True)
        self._backlog = backlog
        self._producer = producer
        self._came_back: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._attempts = 0
        self._sent: dict[int, Entry] = {}
        """What is on its way, by attempt: a second one of an entry is another."""
        self._open_records: dict[int, int] = {}
        self._failed: dict[tuple[int, int], Entry] = {}
        self._back_off = _BACK_OFF[0]
        self._patience = patience
        self._moved_at = time.monotonic()
        """When something came back last, or was sent when nothing was on its way."""
        self._stop_at = float("inf")
        self._next_at = 0.0
        """When entries may be sent next."""
        self.is_connected = False
        """Whether the broker acknowledged the last record that came back."""

    def run(self) -> None:
        # In a burst, senders who wait come first; what is journalled is safe.
        # On Linux this is the thread's, and of those that Kafka's client starts.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while time.monotonic() < self._stop_at:
            try:
                self._round()
            except Exception:  # noqa: BLE001  # the relay must outlive everything
                # Nothing is lost: what is not marked done is sent again.
                _log.exception("the relay stumbled")
                time.sleep(self._back_off)
        # What the broker has by now need not be sent again by the next one.
        self._settle()

    def stop(self, seconds: float) -> None:
        """Publish what is left, for at most `seconds` and while Kafka takes it, and end."""
        deadline = time.monotonic() + seconds
        while self._backlog.depth.entries and not self._failed and time.monotonic() < deadline:
            time.sleep(_WAIT_SECONDS / 4)
        self._stop_at = time.monotonic()
        # It may hang in a connection for seconds; what it holds is not lost.
        self.join(1)

    def _round(self) -> None:
        # Let a few entries gather: a request for each costs us and the broker most.
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._settle()
        if self._failed:
            self._wait_and_retry()
            return
        room = min(_BATCH, _WINDOW - len(self._sent))
        if room > 0:
            # With records on their way, look for their return soon.
            self._send(
                self._backlog.take(room, _WAIT_SECONDS / 20 if self._sent else _WAIT_SECONDS)
            )

    def _settle(self) -> None:
        """Take in what came back; wait for something if nothing else can be done."""
        must_wait = len(self._sent) >= _WINDOW
        done: list[tuple[int, int]] = []
        failure: BaseException | None = None
        while True:
            try:
                attempt, error = (
                    self._came_back.get(timeout=_WAIT_SECONDS)
                    if must_wait
                    else self._came_back.get_nowait()
                )
            except queue.Empty:
                break
            must_wait = False
            if attempt not in self._sent:
                continue  # of a connection that was dropped
            self._moved_at = time.monotonic()
            if error is not None:
                failure = failure or error
                continue
            self._open_records[attempt] -= 1
            if not self._open_records[attempt]:
                del self._open_records[attempt]
                done.append(self._sent.pop(attempt).id)
        if done:
            self._backlog.done(done)
            self.is_connected = True
            self._back_off = _BACK_OFF[0]
        if failure is None and self._sent and time.monotonic() - self._moved_at > self._patience:
            failure = TimeoutError()
        if failure is not None:
            self._give_back(failure)

    def _send(self, entries: list[Entry]) -> None:
        if nothing := [entry.id for entry in entries if not entry.records]:
            # Nothing of these would ever come back.
            self._backlog.done(nothing)
            entries = [entry for entry in entries if entry.records]
        if entries:
            self._next_at = time.monotonic() + _PACE_SECONDS
            if not self._sent:
                self._moved_at = time.monotonic()
        for index, entry in enumerate(entries):
            self._attempts += 1
            self._sent[self._attempts] = entry
            self._open_records[self._attempts] = len(entry.records)
            try:
                for record in entry.records:
                    self._producer.send_record(record, partial(self._returned, self._attempts))
            except Exception as error:  # noqa: BLE001  # whatever it is, try again
                self._failed.update((one.id, one) for one in entries[index + 1 :])
                self._give_back(error)
                return

    def _returned(self, attempt: int, error: BaseException | None) -> None:
        self._came_back.put((attempt, error))

    def _give_back(self, error: BaseException) -> None:
        """Drop the connection; all that was on its way is to go again."""
        is_news = self.is_connected or self._back_off == _BACK_OFF[0]
        self.is_connected = False
        self._failed.update((one.id, one) for one in self._sent.values())
        self._sent.clear()
        self._open_records.clear()
        if is_news:
            _log.warning(
                "Kafka does not take events; they wait in the outbox",
                extra={"fields": {"waiting": self._backlog.depth.entries}},
                exc_info=error,
            )
        self._producer.reset()

    def _wait_and_retry(self) -> None:
        time.sleep(min(self._back_off, max(0.0, self._stop_at - time.monotonic())))
        self._back_off = min(self._back_off * 2, _BACK_OFF[1])
        again, self._failed = [self._failed[one] for one in sorted(self._failed)], {}
        self._send(again)
