"""Rounds over rows over receivers: what is compared is measured within seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.instances import Instances
from bench.receivers import NotStarted, Receiver
from bench.results import Result, Row
from bench.senders import Sender, Unsent

_WARM_UP: Final = 60
_FIRST_BATCH: Final = 20
"""Instances an association of the very first batch, which finds out how fast a receiver is."""

_ENOUGH = 0.6
"""Part of the wanted time that a first measurement must fill to count."""


class Bench:
    """Measures receivers.

    Parameters
    ----------
    receivers
        In the order they are measured in.
    instances
        By name of the size.
    seconds
        How long a measurement is to take.
    folder
        For the senders' logs.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        instances: dict[str, Instances],
        seconds: float,
        folder: Path,
    ) -> None:
        self._receivers, self._instances = receivers, instances
        self._seconds, self._folder = seconds, folder
        self.failures: list[str] = []

    def run(self, rows: Sequence[Row], rounds: int, latencies: bool) -> list[Result[Row]]:
        """Measure every row of every receiver `rounds` times."""
        results = [Result(row) for row in rows]
        for number in range(1, rounds + 1):
            running = [one for one in self._receivers if self._start(one) and self._warm_up(one)]
            try:
                for result in results:
                    for receiver in self._receivers:
                        rate = None
                        if receiver in running:
                            rate = self._measure(receiver, result, latencies and number == 1)
                            if rate is None and not self._restart(receiver):
                                running.remove(receiver)
                        result.rates.setdefault(receiver.profile.key, []).append(rate)
                    say(f"round {number} of {rounds}: {_line(result)}")
            finally:
                for receiver in running:
                    receiver.stop()
        return results

    def _start(self, receiver: Receiver) -> bool:
        try:
            receiver.start()
        except NotStarted as error:
            self._failed(receiver, "start", error)
            return False
        return True

    def _warm_up(self, receiver: Receiver) -> bool:
        """Have it do everything once: what it loads and compiles then is nobody's rate."""
        try:
            for instances in self._instances.values():
                parts = instances.fresh(min(_WARM_UP, instances.limit), 4)
                Sender(4, nodelay=True).send(receiver.port, parts)
                receiver.settle()
            receiver.clear()
        except (Unsent, NotStarted) as error:
            self._failed(receiver, "warm-up", error)
            receiver.stop()
            return False
        return True

    def _restart(self, receiver: Receiver) -> bool:
        receiver.stop()
        return self._start(receiver)

    def _measure(self, receiver: Receiver, result: Result[Row], latencies: bool) -> float | None:
        """Instances acknowledged a second; none, with a note, if not all were or are kept."""
        row, key = result.row, receiver.profile.key
        try:
            rate, settled = self._rate(receiver, row, result.rate(key))
            if settled is not None:
                result.settle.append(settled)
            if latencies and row.associations == 1:
                result.latencies[key] = self._latencies(receiver, row, rate)
        except (Unsent, NotStarted) as error:
            self._failed(receiver, _name(row), error)
            return None
        return rate

    def _rate(
        self, receiver: Receiver, row: Row, known: float | None
    ) -> tuple[float, float | None]:
        instances, sender = self._instances[row.instance], Sender(row.associations, row.nodelay)
        count = int((known or 0) * self._seconds) or _FIRST_BATCH * row.associations
        while True:
            count = min(instances.limit, max(row.associations, count))
            parts = instances.fresh(count, row.associations)
            os.sync()
            elapsed = sender.send(receiver.port, parts)
            settled = self._check(receiver, count, instances.size)
            # Once it is known how many instances fill the time, the answer counts whatever it is.
            if known or elapsed >= _ENOUGH * self._seconds or count == instances.limit:
                return count / elapsed, settled
            count = int(count * min(8.0, 1.1 * self._seconds / elapsed))

    def _latencies(self, receiver: Receiver, row: Row, rate: float) -> list[float]:
        instances = self._instances[row.instance]
        (paths,) = instances.fresh(int(min(200.0, max(20.0, rate))), 1)
        found = Sender(1, row.nodelay).latencies(receiver.port, paths, self._folder)
        self._check(receiver, len(paths), instances.size)
        return found

    def _check(self, receiver: Receiver, count: int, size: int) -> float | None:
        """See that everything is there, wait until the receiver is idle again, and empty it."""
        # What a receiver keeps may be a little shorter: another File Meta Information.
        held = receiver.stored(size - 1024)
        settled = receiver.settle()
        receiver.clear()
        if held != count:
            raise Unsent(f"{count} instances were acknowledged and {held} are there, whole")
        return settled

    def _failed(self, receiver: Receiver, when: str, error: Exception) -> None:
        note = f"{receiver.profile.title}, {when}: {error}"
        say(f"FAILED {note}\n{receiver.process.tail()}")
        # Only the first line goes into the table: logs name folders.
        self.failures.append(note.splitlines()[0])


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _name(row: Row) -> str:
    sender = "TCP_NODELAY" if row.nodelay else "default"
    return f"{row.instance}, {row.associations} assoc., {sender}"


def _line(result: Result[Row]) -> str:
    cells = [
        f"{key} {'failed' if rates[-1] is None else format(rates[-1], '.0f')}"
        for key, rates in result.rates.items()
    ]
    return f"{_name(result.row)}: {', '.join(cells)}"
