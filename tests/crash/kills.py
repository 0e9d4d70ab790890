"""SIGKILL at random moments under load: of the whole gateway, or of one receiver process."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Final

from tests.crash.checks import (
    Topics,
    check_archive,
    check_incoming,
    check_instances,
    check_presence,
    check_topics,
    figures,
)
from tests.crash.load import Instances, Load, SenderLedger
from tests.crash.processes import CrashGateway, connections
from tests.crash.report import Report
from tests.eventually import eventually

_LONGEST_SECONDS: Final = 0.6
_QUIET_SECONDS: Final = 180.0


class Kills:
    """Rounds of load, kill, restart and check, of one gateway.

    Parameters
    ----------
    folder
        For everything that is written.
    topics
        Of the broker the gateway tells.
    gateway
        Not started yet.
    """

    def __init__(
        self, part: str, folder: Path, topics: Topics, gateway: CrashGateway, *, seed: int,
        senders: int,
    ) -> None:  # fmt: skip
        self.report = Report(part)
        self._topics = topics
        self._gateway = gateway
        self._chance = random.Random(seed)
        self._ledger = SenderLedger()
        self._receivers = part == "receivers"
        self._senders = senders
        self._load = Load(
            gateway.receiver, Instances(seed), self._ledger, folder, senders, stay=self._receivers
        )
        self._seen: set[str] = set()

    def run(self, rounds: int) -> Report:
        """Do it; return the report."""
        report = self.report
        try:
            with report.timed():
                self._gateway.start()
                for number in range(1, rounds + 1):
                    self._round()
                    report.progress(
                        f"kill {number} of {rounds}, {self._ledger.total} acknowledgements"
                    )
                self._load.stop()
                self._finish()
        finally:
            self._load.stop()
            self._gateway.close()
        self._gateway.assert_mutated()
        report.figures = {"kills": rounds, **figures(self._ledger, self._topics)}
        return report

    def _round(self) -> None:
        before = self._ledger.total
        self._load.resume()
        eventually(lambda: self._ledger.total > before)
        if self._receivers:
            self._kill_receiver()
        else:
            self._wait_for_a_moment()
            self._gateway.kill()
        self._load.pause()
        if not self._receivers:
            self._gateway.start()
        self._check()

    def _wait_for_a_moment(self) -> None:
        """Until some random moment, or until a moment after an acknowledgement."""
        if self._chance.random() < 0.5:
            acknowledged = threading.Event()
            self._load.at_acknowledgement(acknowledged.set)
            acknowledged.wait(30)
            threading.Event().wait(self._chance.random() ** 3 * 0.005)
        else:
            threading.Event().wait(self._chance.random() * _LONGEST_SECONDS)

    def _kill_receiver(self) -> None:
        gateway, load = self._gateway, self._load
        port = gateway.port

        def spread() -> dict[int, int]:
            return {one: connections(one, port) for one in gateway.receivers()}

        eventually(lambda: sum(spread().values()) == self._senders)
        self._wait_for_a_moment()
        held = spread()
        victim = self._chance.choice([one for one, count in held.items() if count])
        broken = load.broken
        gateway.kill_receiver(victim)
        eventually(lambda: load.broken - broken >= held[victim])
        before = self._ledger.total
        eventually(lambda: self._ledger.total > before + self._senders)
        if load.broken - broken != held[victim]:
            self.report.violations.add(
                "associations of other receivers broke",
                f"{load.broken - broken} broke, and the killed receiver had {held[victim]}",
            )

    def _check(self) -> None:
        archive, violations = self._gateway.archive, self.report.violations
        acknowledged = self._ledger.acknowledgements()
        fresh = [one for key, one in acknowledged.items() if key not in self._seen]
        unknown = [one for key, one in self._ledger.sent.items() if key not in acknowledged]
        when = "after a kill"
        check_incoming(archive, violations, when)
        check_instances(archive, fresh, unknown, violations, when)
        check_presence(archive, acknowledged.values(), violations)
        self._seen |= acknowledged.keys()
        for status, keys in self._ledger.answers.items():
            if status:
                violations.add(f"answered {status:04X}", next(iter(keys)))

    def _finish(self) -> None:
        quiet(self._gateway, self.report)
        self._topics.read()
        digests = check_archive(self._gateway.archive, self._ledger, self.report.violations)
        check_topics(self._topics, digests, self._ledger, self.report.violations)


def quiet(gateway: CrashGateway, report: Report) -> None:
    """Wait until the broker has everything."""
    try:
        eventually(lambda: gateway.metric("outbox_depth") == 0, within=_QUIET_SECONDS)
    except AssertionError:
        left = gateway.metric("outbox_depth")
        report.violations.add("the outbox does not empty", f"{left:.0f} entries wait")
