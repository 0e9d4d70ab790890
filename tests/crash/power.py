"""Power cuts: what a disk has at an instant, and what a gateway makes of it.

SIGKILL proves nothing about fsync, because the kernel writes on. Here archive
and spool lie on an ext4 in a file, whose reflink copy at some instant is what
the power cut leaves. The copy is mounted in the old one's place, and the
gateway goes on with it: one archive lives through all cuts.
"""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.crash.checks import (
    Topics,
    check_archive,
    check_incoming,
    check_instances,
    check_topics,
    figures,
)
from tests.crash.disks import make_disk, mounted, snapshot
from tests.crash.kills import quiet
from tests.crash.load import Instance, Instances, Load, SenderLedger
from tests.crash.processes import CrashGateway
from tests.crash.report import Report
from tests.eventually import eventually

_STORE_BYTES: Final = 16 << 30
_DISK_BYTES: Final = 2 << 30
_LONGEST_SECONDS: Final = 1.0


class PowerCuts:
    """Rounds of load, power cut, check and recovery.

    Parameters
    ----------
    folder
        For everything that is written.
    topics
        Of the broker to tell.
    without
        A step of durability to leave out.
    """

    def __init__(
        self, folder: Path, topics: Topics, *, seed: int, senders: int,
        without: str = "",
    ) -> None:  # fmt: skip
        self.report = Report("power")
        self._store, self._disk = folder / "store", folder / "disk"
        self._topics = topics
        self._chance = random.Random(seed)
        self._senders = senders
        self._ledger = SenderLedger()
        log = folder / "log"
        self._there = CrashGateway(self._disk, topics.server, without=without, log=log)
        self._away = CrashGateway(self._disk, without=without, log=log)
        """The same gateway, while the broker cannot be reached: the journal has it all."""
        self._load = Load(self._there.receiver, Instances(seed), self._ledger, folder, senders)
        self._image = self._store / "0"
        self._cuts = {"at an acknowledgement": 0, "while publishing": 0}

    def run(self, cuts: int) -> Report:
        """Do it; return the report."""
        report, folder = self.report, self._store.parent
        store = folder / "store.xfs"
        with report.timed(), ExitStack() as stack:
            make_disk(store, "xfs", _STORE_BYTES)
            stack.callback(store.unlink)
            stack.enter_context(mounted(store, self._store))
            make_disk(self._image, "ext4", _DISK_BYTES)
            disk = stack.enter_context(ExitStack())
            disk.enter_context(mounted(self._image, self._disk))
            stack.callback(self._there.close)
            stack.callback(self._away.close)
            stack.callback(self._load.stop)
            for number in range(1, cuts + 1):
                self._round(number, disk)
                report.progress(f"cut {number} of {cuts}, {self._ledger.total} acknowledgements")
            self._load.stop()
            self._topics.read()
            digests = check_archive(self._there.archive, self._ledger, report.violations)
            check_topics(self._topics, digests, self._ledger, report.violations)
        self._there.assert_mutated()
        report.figures = {"cuts": cuts, **self._cuts, **figures(self._ledger, self._topics)}
        return report

    def _round(self, number: int, disk: ExitStack) -> None:
        publishing = self._chance.random() < 0.4
        gateway = self._there if publishing else self._away
        self._cuts["while publishing"] += publishing
        if gateway.process is None or gateway.process.poll() is not None:
            self._there.close()
            gateway.start()
        self._load.receiver = gateway.receiver
        before = self._ledger.total
        # One sender alone half of the time: of several, one's fsync serves all.
        self._load.resume(self._chance.choice((1, 1, self._senders, self._senders)))
        some = self._chance.randint(2, 60)
        eventually(lambda: self._ledger.total > before + some)
        copy = self._store / str(number)
        survivors = self._cut(gateway, copy, publishing=publishing)
        gateway.kill_all()
        self._load.pause()
        # What was acknowledged later happened in a world that is gone now.
        self._ledger.forget(self._ledger.acknowledgements().keys() - survivors.keys())
        disk.close()
        self._image.unlink()
        self._image = copy
        disk.enter_context(mounted(copy, self._disk))
        self._check(survivors)

    def _cut(self, gateway: CrashGateway, copy: Path, *, publishing: bool) -> dict[str, Instance]:
        """Copy the disk at some instant; return what was acknowledged before."""
        survivors: dict[str, Instance] = {}
        done = threading.Event()

        def cut() -> None:
            if publishing:
                # Or it would tell the broker what the copy does not know of.
                gateway.freeze()
            survivors.update(self._ledger.acknowledgements())
            snapshot(self._image, copy)
            done.set()

        if self._chance.random() < 0.7:
            self._cuts["at an acknowledgement"] += 1
            # The sender itself does it, before it sends on.
            self._load.at_acknowledgement(cut)
            assert done.wait(60), "nothing is acknowledged any more"
        else:
            threading.Event().wait(self._chance.random() * _LONGEST_SECONDS)
            cut()
        return survivors

    def _check(self, survivors: dict[str, Instance]) -> None:
        gateway, violations = self._there, self.report.violations
        others = [one for key, one in self._ledger.sent.items() if key not in survivors]
        check_instances(
            gateway.archive, survivors.values(), others, violations, "after a power cut"
        )
        gateway.start()
        check_incoming(gateway.archive, violations, "after a power cut")
        quiet(gateway, self.report)
        self._topics.read()
        told = {one.file_path for one in self._topics.stored}
        for key in survivors.keys() - told:
            violations.add("acknowledged, and not announced after a power cut", key)
        for status, keys in self._ledger.answers.items():
            if status:
                violations.add(f"answered {status:04X}", next(iter(keys)))
