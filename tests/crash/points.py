"""SIGKILL before and after each write, fsync, link and send that one instance causes."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Final

from pacsless.send.association import Association, ConnectionLost
from tests.crash.checks import (
    Topics,
    check_archive,
    check_incoming,
    check_instances,
    check_topics,
    figures,
)
from tests.crash.kills import quiet
from tests.crash.load import SMALL, Instance, Instances, SenderLedger, associate, store
from tests.crash.processes import CrashGateway, is_running, tasks
from tests.crash.report import Report
from tests.crash.tracing import DURABLE, Point, killed_at, points, read_calls, traced
from tests.eventually import eventually

# Each instance begins a study and a series, as their folders are part of the promise.
_APART: Final = 40
_TRIES: Final = 3
_GONE_SECONDS: Final = 5.0


class Points:
    """Kills a receiver at every point of its first instance, and looks at what is left.

    Parameters
    ----------
    folder
        For everything that is written.
    topics
        Of the broker the gateway tells.
    gateway
        With one receiver, so that each kill meets a new one; not started yet.
    """

    def __init__(self, folder: Path, topics: Topics, gateway: CrashGateway, *, seed: int) -> None:
        self.report = Report("points")
        self._folder = folder
        self._topics = topics
        self._gateway = gateway
        self._instances = Instances(seed)
        self._chance = random.Random(seed)
        self._ledger = SenderLedger()
        self._next = 0
        self._index = 0
        self._outcomes = {"absent": 0, "kept": 0, "acknowledged": 0}

    def run(self, *, twice: bool, most: int = 0) -> Report:
        """Kill a receiver at each point, and its parent right after it.

        Parameters
        ----------
        twice
            Do it again with a parent that lives and starts another receiver. That
            takes longer, as it waits between receivers that die young.
        most
            How many of the points to take, or 0 for all.
        """
        report = self.report
        try:
            with report.timed():
                self._gateway.start()
                found = self._find()
                if 0 < most < len(found):
                    found = [
                        found[one] for one in sorted(self._chance.sample(range(len(found)), most))
                    ]
                kinds = (True, False) if twice else (True,)
                for parent in kinds:
                    for number, point in enumerate([*found, None], 1):
                        self._kill(point, parent=parent)
                        report.progress(f"point {number} of {len(found) + 1}")
                self._finish()
        finally:
            self._gateway.close()
        self._gateway.assert_mutated()
        report.figures = {
            "points": len(found) + 1,
            "kills": (len(found) + 1) * len(kinds),
            **self._outcomes,
            **figures(self._ledger, self._topics),
        }
        return report

    def _find(self) -> list[Point]:
        """Trace an instance; return the points of the thread that keeps it."""
        pid, threads, association = self._associate()
        output = self._folder / "trace"
        with traced(pid, output):
            assert self._store(association, self._make()) == 0
            # What follows the answer belongs to it.
            quiet(self._gateway, self.report)
        association.close()
        calls = read_calls(output)
        keeper = {one.thread for one in calls if one.name in ("link", "linkat")}
        assert len(keeper) == 1 and keeper <= set(threads), (
            f"link(2) is called by {len(keeper)} threads; the association's are looked at only"
        )
        durable = {one.thread for one in calls if one.name in DURABLE}
        if durable != keeper:
            self.report.notes.append("other threads than the association's sync or link, too")
        self._index = threads.index(*keeper)
        found = points(calls, *keeper)
        (self._folder / "points").write_text("\n".join(one.what for one in found) + "\n")
        # The next one meets a new receiver, as all after it do.
        self._restart(pid, parent=True)
        return found

    def _kill(self, point: Point | None, *, parent: bool) -> None:
        for _ in range(_TRIES):
            pid, threads, association = self._associate()
            instance = self._make()
            if point is None:
                status = self._try(association, instance)
                os.kill(pid, signal.SIGKILL)
                reached = True
            else:
                thread = threads[self._index]
                with killed_at(point, thread, self._folder / "kill"):
                    status = self._try(association, instance)
                    reached = _gone(pid)
            association.close()
            self._restart(pid, parent=parent)
            self._check(instance, status, point)
            if reached:
                return
        what = point.what if point else "the end"
        self.report.violations.add("a point was not reached", what)

    def _try(self, association: Association, instance: Instance) -> int | None:
        try:
            return self._store(association, instance)
        except ConnectionLost as error:
            self._ledger.lost(error.message)
            return None

    def _check(self, instance: Instance, status: int | None, point: Point | None) -> None:
        archive, violations = self._gateway.archive, self.report.violations
        when = f"killed before {point.what if point else 'the next instance'}"
        sure, unsure = ([instance], []) if status == 0 else ([], [instance])
        check_instances(archive, sure, unsure, violations, when)
        check_incoming(archive, violations, when)
        if status == 0:
            self._outcomes["acknowledged"] += 1
        else:
            self._outcomes["kept" if (archive / instance.key).exists() else "absent"] += 1

    def _restart(self, pid: int, *, parent: bool) -> None:
        """Bring a new receiver in the place of the one that is or will be dead."""
        gateway = self._gateway
        if parent:
            gateway.kill()
            gateway.start()
        elif is_running(pid):
            gateway.kill_receiver(pid)
        else:
            gateway.await_receivers(1, pid)
        # It has all its threads when it serves an association.
        with associate(gateway.receiver):
            pass

    def _finish(self) -> None:
        quiet(self._gateway, self.report)
        self._topics.read()
        violations = self.report.violations
        digests = check_archive(self._gateway.archive, self._ledger, violations)
        check_topics(self._topics, digests, self._ledger, violations)
        # A sender repeats what was not acknowledged, and all is well then.
        _, _, association = self._associate()
        with association:
            for instance in list(self._ledger.sent.values()):
                number = instance.number
                again, content = self._instances.make(number, SMALL)
                (self._folder / "instance").write_bytes(content)
                status = store(association, self._folder / "instance", again, self._ledger)
                if status:
                    violations.add(f"repeated, and answered {status:04X}", again.key)
        quiet(self._gateway, self.report)
        self._topics.read()
        digests = check_archive(self._gateway.archive, self._ledger, violations)
        check_topics(self._topics, digests, self._ledger, violations)

    def _make(self) -> Instance:
        self._next += _APART
        instance, content = self._instances.make(self._next, SMALL)
        (self._folder / "instance").write_bytes(content)
        return instance

    def _store(self, association: Association, instance: Instance) -> int:
        return store(association, self._folder / "instance", instance, self._ledger)

    def _associate(self) -> tuple[int, list[int], Association]:
        """Return a receiver, its threads for a new association, and that."""
        before = {pid: tasks(pid) for pid in self._gateway.receivers()}
        association = associate(self._gateway.receiver)
        new = {pid: sorted(tasks(pid) - known) for pid, known in before.items()}
        busy = [pid for pid, threads in new.items() if threads]
        assert len(busy) == 1, f"{len(busy)} receivers began a thread for one association"
        return busy[0], new[busy[0]], association


def _gone(pid: int) -> bool:
    try:
        eventually(lambda: not is_running(pid), within=_GONE_SECONDS)
    except AssertionError:
        return False
    return True
