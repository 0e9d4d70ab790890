"""Rounds of load, poison, strikes, quiet and checks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsless.bus import Producer
from tests.crash.load import SMALL, Instances, SenderLedger
from tests.crash.report import Report
from tests.faults import replay, strikes
from tests.faults.checks import check
from tests.faults.load import TENANTS, Load, plan
from tests.faults.poison import Poison
from tests.faults.strikes import Blow, Striker, per_part
from tests.faults.system import System

_QUIET_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a round is."""

    instances: int
    strikes: int
    senders: int
    """Associations at a time for each tenant."""


class Rounds:
    """Rounds on one stack, which keeps what the rounds before have brought it.

    Parameters
    ----------
    system
        The stack.
    folder
        For the files being sent.
    size
        Of each round.
    seed
        Same seed, same instances, strikes and order; not the same moments.
    """

    def __init__(self, system: System, folder: Path, size: Size, seed: int) -> None:
        self.done: Counter[Blow] = Counter()
        self._system, self._folder, self._size, self._seed = system, folder, size, seed
        self._ledger = SenderLedger()
        self._instances = {tenant: Instances(seed, tenant) for tenant in TENANTS}
        self._known: dict[str, list[int]] = {tenant: [] for tenant in TENANTS}
        self._producer = Producer(system.settings.client(), "pacsless-faults")
        self._poison = Poison(self._producer)

    def close(self) -> None:
        """Hang up."""
        self._producer.close()

    def run(self, number: int) -> Report:
        """Do a round; `number` counts from 1."""
        report = Report(f"round {number}")
        chance = random.Random(f"{self._seed}/round/{number}")
        size = self._size
        planned = plan(number - 1, size.instances, self._known, chance)
        fresh = [
            self._instances[tenant].make(one, SMALL)[0]
            for tenant in TENANTS
            for one in sorted(set(planned[tenant]) - set(self._known[tenant]))
        ]
        load = Load(
            self._system.gateway_port, self._instances, planned, ledger=self._ledger,
            folder=self._folder, senders=size.senders, seed=f"{self._seed}/{number}",
        )  # fmt: skip
        striker = Striker(self._system, load, strikes.plan(size.strikes, chance), report.progress)
        acknowledged, attempts = self._ledger.total, self._ledger.attempts.total()
        with report.timed():
            self._disturb(load, striker, lambda: self._poison.inject(number, fresh, chance))
            for what in load.refused:
                report.violations.add("I1 not acknowledged", what)
            report.progress("all is sent; waiting until it is quiet")
            quiet = self._system.quiet(_QUIET_SECONDS)
            if quiet.problem:
                report.violations.add("I5 it does not become quiet", quiet.problem)
            report.progress(f"quiet after {quiet.seconds:.0f} s; checking")
            check(self._system, self._ledger, self._poison, report.violations, fresh)
        for tenant, numbers in planned.items():
            self._known[tenant] = sorted({*self._known[tenant], *numbers})
        self.done += striker.done
        report.figures = {
            "acknowledged": self._ledger.total - acknowledged,
            "sent": self._ledger.attempts.total() - attempts,
            "seconds to quiet": round(quiet.seconds, 1),
            "strikes": striker.done.total(),
            **per_part(striker.done),
        }
        return report

    def replay(self) -> Report:
        """Handle everything again, and compare."""
        report = Report("replay")
        with report.timed():
            self._system.await_access_log()
            before = replay.take(self._system)
            quiet = replay.replay(self._system, _QUIET_SECONDS)
            if quiet.problem:
                report.violations.add("I5 it does not become quiet", quiet.problem)
            replay.compare(before, replay.take(self._system), report.violations)
        report.figures = {
            "rows and files": len(before),
            "seconds to quiet": round(quiet.seconds, 1),
        }
        return report

    @staticmethod
    def _disturb(load: Load, striker: Striker, poison: Callable[[], None]) -> None:
        """Send and strike at once; poison comes when a third is sent."""

        def inject() -> None:
            load.wait_for(load.total // 3)
            poison()

        load.start()
        try:
            with ThreadPoolExecutor(1) as pool:
                injected = pool.submit(inject)
                striker.run()
                injected.result()
            load.join()
        finally:
            load.stop()
