"""Processes that outlive who started them, known by number and time of start."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import layout
from tests.cluster.errors import ClusterError
from tests.cluster.progress import say

_TAIL: Final = 15


@dataclass(frozen=True, slots=True)
class Process:
    """A process. Numbers are given again; a number and a time of start are not."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Process that has this number now."""
        return cls(pid, _started(pid) or 0)

    @classmethod
    def recorded(cls, file: Path) -> Process | None:
        """Process that a file tells of, if it still runs."""
        with contextlib.suppress(OSError, ValueError):
            process = cls(*map(int, file.read_text().split()))
            return process if process.runs() else None
        return None

    def record(self, file: Path) -> None:
        """Write down which it is."""
        file.write_text(f"{self.pid} {self.started}")

    def runs(self) -> bool:
        """Whether it has not ended."""
        return _started(self.pid) == self.started

    def gone_within(self, seconds: float) -> bool:
        """Whether it ends in this time."""
        deadline = time.monotonic() + seconds
        while self.runs() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.runs()


def _started(pid: int) -> int | None:
    """Time of a process's start, in ticks since boot; None if it has ended (proc(5))."""
    with contextlib.suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    return None


Ready = Callable[[], bool]
"""Whether it answers; what it raises counts as not yet."""


class Programs:
    """Programs of the cluster, seen from within its namespaces."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        """Those that were to be started, and ran already."""
        self._waiting: dict[str, tuple[Process, Ready, float]] = {}
        layout.RECORDS.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: Ready,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a program that does not run, without waiting for it.

        Parameters
        ----------
        name
            Of its log and its record.
        command
            What is run.
        ready
            Whether it can be used.
        port
            A port that it listens at.
        environment
            Variables for it, beside those of this process.

        Raises
        ------
        ClusterError
            If the port is taken, or there is no such program.
        """
        record, log = layout.RECORDS / name, layout.LOGS / f"{name}.log"
        process = Process.recorded(record)
        if process is None:
            if record.exists():
                say(f"{name} has ended and is started again; its log is {log}")
            if port is not None:
                _require_free(name, port)
            child = _started_child(name, command, log, {**os.environ, **(environment or {})})
            process = Process.of(child.pid)
            process.record(record)
        else:
            self.kept.append(name)
        self._waiting[name] = process, ready, time.monotonic()

    def wait(self, name: str, seconds: float = 60) -> None:
        """Wait until a program that was started is ready.

        Raises
        ------
        ClusterError
            If it ends, or takes too long; with the end of its log.
        """
        process, ready, since = self._waiting.pop(name)
        deadline = time.monotonic() + seconds
        while True:
            problem = ""
            try:
                if ready():
                    return
            except Exception as error:  # noqa: BLE001
                problem = f" ({error})"
            if not process.runs():
                raise ClusterError(name, f"{name} has ended. The end of its log:\n{_tail(name)}")
            if time.monotonic() > deadline:
                waited = time.monotonic() - since
                raise ClusterError(
                    name,
                    f"{name} is not ready after {waited:.0f} s{problem}. "
                    f"The end of its log:\n{_tail(name)}",
                )
            time.sleep(0.05)


def _started_child(
    name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    try:
        with log.open("a") as output:
            return subprocess.Popen(
                [str(one) for one in command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, env=environment,
            )  # fmt: skip
    except FileNotFoundError as error:
        raise ClusterError(
            name, f"{command[0]} is not there: make cluster-up installs and builds what is missing"
        ) from error


def _require_free(name: str, port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("0.0.0.0", port))
        except OSError as error:
            raise ClusterError(
                name,
                f"{name} cannot listen at port {port} of namespace {layout.NAME}: "
                f"{error.strerror}. Who does, tells: nsenter --net={layout.NETWORK} ss -ltnp; "
                "make cluster-down ends what belongs to the cluster",
            ) from error


def _tail(name: str) -> str:
    lines = (layout.LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-_TAIL:]
    return "\n".join(f"  {line[:300]}" for line in lines)
