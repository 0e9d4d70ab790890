"""What every measured receiver has in common: a process, a port, and what it has stored."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class NotStarted(Exception):
    """A receiver, or what it needs, does not run."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a reader of the table wants to know of a receiver.

    Attributes
    ----------
    key
        In the JSON.
    title
        In the table.
    version, how
        What was measured, and how it was started.
    durable
        What an acknowledgement of it means.
    """

    key: str
    title: str
    version: str
    how: str
    durable: str


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Process:
    """A process in a process group of its own, with a log.

    Parameters
    ----------
    name
        For messages.
    log
        File for what it prints.
    """

    def __init__(self, name: str, log: Path) -> None:
        self._name, self._log = name, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: list[str],
        ready: Callable[[], bool],
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        within: float = 60.0,
    ) -> None:
        """Start it and return when it is ready.

        Raises
        ------
        NotStarted
            If it ends before, or is not ready in time.
        """
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + within
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                why = "ended" if self._process.poll() is not None else f"not ready in {within:g} s"
                self.stop()
                raise NotStarted(f"{self._name}: {why}:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1500:]

    def stop(self) -> None:
        """End it and what it started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            process.terminate()
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


def listens(port: int) -> bool:
    """Whether somebody takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


class Receiver(ABC):
    """A Storage SCP that is measured.

    Parameters
    ----------
    profile
        What it is.
    folder
        Its own, on the disk everybody writes to.
    """

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.profile, self.folder = profile, folder
        folder.mkdir(parents=True)
        self.output = folder / "stored"
        (self.port,) = free_ports(1)
        self._cleared = 0
        self.process = Process(profile.title, folder / "log")

    def start(self) -> None:
        """Start it; return when it takes associations."""
        self.output.mkdir(exist_ok=True)
        self.process.start(self.command(), lambda: listens(self.port), {**os.environ, **NODELAY})

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments."""

    def stored(self, least: int) -> int:
        """How many instances of at least so many bytes it holds."""
        return sum(
            entry.stat().st_size >= least
            for parent, _, names in os.walk(self.output)
            for entry in map(Path(parent).joinpath, names)
        )

    def settle(self) -> float | None:
        """Wait until it has finished what it does after acknowledging; return how long that was."""
        return None

    def clear(self) -> None:
        """Empty what it holds: disks are small, and unwritten pages would burden the next one.

        The empty files stay until the end, out of the receiver's sight: ext4
        without a journal looks long for an inode where many were freed lately.
        """
        aside = self.folder / "aside" / str(self._cleared)
        aside.mkdir(parents=True)
        self._cleared += 1
        for path in self.output.iterdir():
            path.rename(aside / path.name)
        for parent, _, names in os.walk(aside):
            for name in names:
                os.truncate(Path(parent) / name, 0)

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self.process.stop()
        shutil.rmtree(self.output, ignore_errors=True)

    def remove(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


NODELAY = {"TCP_NODELAY": "1"}
"""For every receiver: what DCMTK's network layer (storescp, Orthanc) reads."""
