"""The gateway's processes, to be killed one by one or all at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pacsless.send.pdu import Receiver
from tests.eventually import eventually
from tests.gateway import GatewayProcess

MUTATIONS: Final = ("file-fsync", "directory-fsync", "journal-fsync", "journal")
"""Steps of durability that can be left out; ``mutations/sitecustomize.py`` does it."""
_MUTATIONS: Final = Path(__file__).parent / "mutations"
_TIMEOUT_SECONDS: Final = 30.0
_FOLLOW_SECONDS: Final = 10.0


class CrashGateway(GatewayProcess):
    """A gateway whose processes can be found, stopped and killed.

    Parameters
    ----------
    folder, kafka, environ
        As of `GatewayProcess`.
    receivers
        How many receiver processes; as many as it likes if 0.
    without
        A step of durability to leave out (`tests.crash.mutations`).
    log
        Where its log goes, if not into `folder`.
    """

    def __init__(
        self,
        folder: Path,
        kafka: str = "",
        *,
        receivers: int = 0,
        without: str = "",
        log: Path | None = None,
        **environ: str,
    ) -> None:
        if receivers:
            environ["GATEWAY_PROCESSES"] = str(receivers)
        super().__init__(folder, kafka, **environ)
        if log is not None:
            self.log = log
        self._proof = self.log.parent / f"without-{without}"
        self._without = without
        if without:
            self._proof.mkdir(exist_ok=True)
            self._environ |= {
                "PYTHONPATH": f"{_MUTATIONS}{os.pathsep}{self._environ['PYTHONPATH']}",
                "PACSLESS_CRASH_WITHOUT": without,
                "PACSLESS_CRASH_PROOF": str(self._proof),
            }

    @property
    def receiver(self) -> Receiver:
        """Where to send to."""
        return Receiver("127.0.0.1", self.port, "PACSLESS", "CRASH", _TIMEOUT_SECONDS)

    @property
    def pid(self) -> int:
        """Of the parent."""
        assert self.process is not None
        return self.process.pid

    def set_kafka(self, server: str) -> None:
        """Have it tell this broker from its next start on."""
        self._environ["PACSLESS_KAFKA"] = server

    def starts(self) -> bool:
        """Start it if it does not run; whether it runs."""
        if self.process is None or self.process.poll() is not None:
            try:
                self.start()
            except RuntimeError:
                return False  # its log says why
        return True

    def receivers(self) -> list[int]:
        """Processes that take instances: the parent's children."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError("the gateway ended:\n" + self.log.read_text())
        return children(self.pid)

    def kill(self) -> None:
        """Kill the parent; its receivers must follow it at once."""
        family = self.receivers()
        super().kill()
        eventually(lambda: not any(map(is_running, family)), within=_FOLLOW_SECONDS)

    def kill_receiver(self, pid: int) -> None:
        """Kill one receiver, and wait until another has taken its place."""
        count = len(self.receivers())
        os.kill(pid, signal.SIGKILL)
        self.await_receivers(count, pid)

    def await_receivers(self, count: int, gone: int) -> None:
        """Wait until there are `count` receivers again and `gone` is none of them."""
        eventually(lambda: not is_running(gone), within=10)
        eventually(lambda: len(set(self.receivers()) - {gone}) == count)
        eventually(lambda: self.get("/healthz")[0] == 200)

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        for one in (self.pid, *children(self.pid)):
            os.kill(one, signal.SIGSTOP)

    def kill_all(self) -> None:
        """Kill all its processes, stopped ones too, as a power cut does."""
        family = [self.pid, *children(self.pid)]
        for one in family:
            os.kill(one, signal.SIGKILL)
        super().kill()
        eventually(lambda: not any(map(is_running, family)), within=_FOLLOW_SECONDS)

    def assert_mutated(self) -> None:
        """Fail unless the step to be left out was reached and left out."""
        if self._without:
            assert any(self._proof.iterdir()), (
                f"the gateway never came to {self._without}: the mutation proves nothing"
            )


def children(pid: int) -> list[int]:
    """Processes a process has started and that run."""
    found: list[int] = []
    for task in tasks(pid):
        try:
            listed = Path(f"/proc/{pid}/task/{task}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended
        found += map(int, listed.split())
    return [one for one in found if is_running(one)]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def tasks(pid: int) -> set[int]:
    """Threads of a process."""
    try:
        return {int(one) for one in os.listdir(f"/proc/{pid}/task")}
    except FileNotFoundError:
        return set()


def connections(pid: int, port: int) -> int:
    """How many established connections to `port` a process holds."""
    inodes = set(_sockets(pid))
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = line.split()[1], line.split()[3], line.split()[9]
        count += inode in inodes and state == "01" and int(local.split(":")[1], 16) == port
    return count


def _sockets(pid: int) -> Iterator[str]:
    for one in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{one}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield target[8:-1]
