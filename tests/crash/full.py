"""A full disk: honest refusals, nothing torn, and life goes on when there is space again.

While it is full the gateway is killed and started anew. What it acknowledged
before is promised in a journal that cannot grow now, and must still be announced.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Final

from pacsless.send.association import Association, ConnectionLost
from tests.crash.checks import (
    Topics,
    check_archive,
    check_incoming,
    check_topics,
    figures,
)
from tests.crash.disks import make_disk, mounted
from tests.crash.kills import quiet
from tests.crash.load import Instances, SenderLedger, associate, store
from tests.crash.processes import CrashGateway
from tests.crash.report import Report
from tests.services import KafkaBroker

_DISK_BYTES: Final = 48 << 20
_BALLAST: Final = 12 << 20
_LEFT: Final = 3 << 20
"""Beside the mark, before the sender fills the rest."""
_REFUSALS: Final = 30
_STEPS: Final = 60
"""In which a few blocks are given back."""
_REFUSALS_ANEW: Final = 10
"""After the gateway was killed."""
_RECOVERY_SECONDS: Final = 10.0
_OUT_OF_RESOURCES: Final = 0xA7
# PS3.8 Table 9-21: by the presentation-related service provider, transient.
_REJECTED: Final = ("temporary congestion", "local limit exceeded")


class FullDisk:
    """Fills the disk of archive and spool, and frees it.

    Parameters
    ----------
    folder
        For everything that is written.
    topics
        Of the broker to tell.
    high_water_percent
        100: the disk is filled to the brim, and every write may fail.
    broker
        Stopped while the disk is full, if it is given; if not, the gateway
        cannot reach any until it is killed.
    """

    def __init__(
        self, folder: Path, topics: Topics, *, seed: int, high_water_percent: int,
        broker: KafkaBroker | None = None,
    ) -> None:  # fmt: skip
        self.report = Report(f"full at {high_water_percent} %")
        self._folder, self._disk = folder, folder / "disk"
        self._topics = topics
        self._broker = broker
        self._mark = high_water_percent
        self._gateway = CrashGateway(
            self._disk, topics.server if broker else "", log=folder / "log",
            GATEWAY_HIGH_WATER_PERCENT=str(high_water_percent),
        )  # fmt: skip
        self._chance = random.Random(seed)
        self._instances = Instances(seed)
        self._ledger = SenderLedger()
        self._next = 0
        self._association: Association | None = None
        self._refusals = {"A700": 0, "rejected": 0}
        self._recovery: dict[str, float] = {}

    def run(self) -> Report:
        """Do it; return the report."""
        report = self.report
        image = self._folder / "disk.ext4"
        make_disk(image, "ext4", _DISK_BYTES)
        with report.timed(), mounted(image, self._disk):
            try:
                self._run()
            finally:
                self._gateway.close()
        image.unlink()
        report.figures = {
            "refused": self._refusals["A700"],
            "rejected": self._refusals["rejected"],
            **{f"seconds to recover {what}": s for what, s in self._recovery.items()},
            **figures(self._ledger, self._topics),
        }
        return report

    def _run(self) -> None:
        gateway, violations = self._gateway, self.report.violations
        gateway.start()
        if self._broker is not None:
            self._broker.stop()
        ballast, filler = self._disk / "ballast", self._disk / "filler"
        _allocate(ballast, _BALLAST)
        _allocate(filler, max(0, self._free() - self._reserve() - _LEFT))
        self._be_refused(_REFUSALS, "with a full disk")
        if self._mark == 100:
            self._trickle(filler)
        gateway.kill()
        gateway.set_kafka(self._topics.server)
        if gateway.starts():
            self._be_refused(_REFUSALS_ANEW, "with a full disk, and killed")
        else:
            # It has promises to decide on, and nowhere to write that down.
            self.report.notes.append("did not start with a full disk")
        ballast.unlink()
        if not gateway.starts():
            violations.add("does not start", "with space freed")
            return
        self._recover("from small ones")
        self._large(filler)
        self._hang_up()
        if self._broker is not None:
            self._broker.start()
        quiet(gateway, self.report)
        self._topics.read()
        digests = check_archive(gateway.archive, self._ledger, violations)
        check_topics(self._topics, digests, self._ledger, violations)

    def _be_refused(self, times: int, when: str) -> None:
        """Send until the gateway has refused that often more."""
        until = sum(self._refusals.values()) + times
        while sum(self._refusals.values()) < until:
            self._send()
        self._hang_up()
        archive, violations = self._gateway.archive, self.report.violations
        check_incoming(archive, violations, when)
        check_archive(archive, self._ledger, violations)
        self.report.progress(f"{when}, {self._ledger.total} acknowledgements")

    def _trickle(self, filler: Path) -> None:
        """Give back a few blocks at a time: sooner or later each write is the first that fails."""
        block = os.statvfs(self._disk).f_frsize
        for _ in range(_STEPS):
            os.truncate(filler, filler.stat().st_size - self._chance.randint(1, 6) * block)
            self._send()
        self._hang_up()

    def _large(self, filler: Path) -> None:
        """Send one that does not fit; its beginning must not stay."""
        filler.unlink()
        _allocate(filler, max(0, self._free() - self._reserve() - (8 << 20)))
        size = self._free() + (2 << 20)
        refused = sum(self._refusals.values())
        for _ in range(100):
            if self._send(size) is not True:
                break
        if sum(self._refusals.values()) == refused:
            self.report.violations.add("too large for the disk, and not refused", f"{size} bytes")
        self._recover("from a large one")
        check_incoming(self._gateway.archive, self.report.violations, "after a large one")

    def _recover(self, what: str) -> None:
        """Measure how long it takes until an instance is acknowledged."""
        started = time.monotonic()
        while self._send() is not True:
            if time.monotonic() - started > 6 * _RECOVERY_SECONDS:
                self.report.violations.add("no recovery", f"{what}, in a minute")
                return
            time.sleep(0.05)
        seconds = time.monotonic() - started
        self._recovery[what] = round(seconds, 2)
        if seconds > _RECOVERY_SECONDS:
            self.report.violations.add("slow recovery", f"{what}: {seconds:.1f} s")

    def _send(self, pixel_bytes: int = 0) -> bool:
        """Send the next instance; return whether it is acknowledged, and judge a refusal."""
        path = self._folder / "instance"
        self._next += 1
        instance, content = self._instances.make(self._next, pixel_bytes)
        path.write_bytes(content)
        try:
            if self._association is None:
                self._association = associate(self._gateway.receiver)
            status = store(self._association, path, instance, self._ledger)
        except ConnectionLost as error:
            self._hang_up()
            if error.code == "rejected" and error.message.endswith(_REJECTED):
                self._refusals["rejected"] += 1
            else:
                self.report.violations.add("neither refused nor acknowledged", error.message)
                self._refusals["rejected"] += 1
            return False
        if status == 0:
            return True
        self._refusals["A700"] += status >> 8 == _OUT_OF_RESOURCES
        if status >> 8 != _OUT_OF_RESOURCES:
            self.report.violations.add(f"answered {status:04X}", instance.key)
        # Half of the next ones ask for an association, which is refused otherwise.
        if self._next % 2:
            self._hang_up()
        return False

    def _hang_up(self) -> None:
        if self._association is not None:
            self._association.close()
            self._association = None

    def _free(self) -> int:
        found = os.statvfs(self._disk)
        return found.f_bavail * found.f_frsize

    def _reserve(self) -> int:
        """What is free at the mark."""
        found = os.statvfs(self._disk)
        return int(found.f_blocks * found.f_frsize * (1 - self._mark / 100))


def _allocate(path: Path, size: int) -> None:
    with open(path, "xb") as file:
        if size:
            os.posix_fallocate(file.fileno(), 0, size)
