"""A real gateway in a process of its own, with its folder and ports."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import urllib3

from pacsless.dicom.part10 import split_part10
from pacsless.events import Event
from pacsless.send import Options
from tests.eventually import eventually
from tests.outboxes import promised
from tests.ports import free_ports

ROOT = Path(__file__).parents[1]
HTTP = urllib3.PoolManager(retries=False)


class GatewayProcess:
    """Starts, stops and looks into a gateway.

    Parameters
    ----------
    folder
        For its archive, spool and log.
    kafka
        Bootstrap server; a port where nobody listens unless given.
    environ
        Settings without their ``PACSLESS_`` prefix.
    """

    def __init__(self, folder: Path, kafka: str = "", **environ: str) -> None:
        self.port, self.admin_port, dead = free_ports(3)
        self.archive, self.spool, self.log = folder / "archive", folder / "spool", folder / "log"
        self._environ = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scp-gateway'}",
            "PACSLESS_ARCHIVE": f"file://{self.archive}",
            "PACSLESS_SPOOL": str(self.spool),
            "PACSLESS_KAFKA": kafka or f"127.0.0.1:{dead}",
            "PACSLESS_GATEWAY_PORT": str(self.port),
            "PACSLESS_GATEWAY_ADMIN_PORT": str(self.admin_port),
            "PACSLESS_GATEWAY_STOP_SECONDS": "10",
            **{f"PACSLESS_{name}": value for name, value in environ.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it takes instances."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scp_gateway"], env=self._environ, stdout=log, stderr=log
            )
        # With all its receivers; its disk may be full.
        eventually(lambda: self.metric("receivers") == len(self.receivers()) > 0)

    def kill(self) -> None:
        """End it as a crash would; return when its receivers have noticed."""
        assert self.process is not None
        receivers = self.receivers()
        self.process.kill()
        self.process.wait(30)
        eventually(lambda: not any(map(runs, receivers)))

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        """End it if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def get(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        try:
            answer = HTTP.request("GET", f"http://127.0.0.1:{self.admin_port}{path}", timeout=10)
        except urllib3.exceptions.HTTPError:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError("the gateway ended:\n" + self.log.read_text()) from None
            return 0, ""
        return answer.status, answer.data.decode()

    def metric(self, name: str, **labels: str) -> float:
        """Read one value of ``/metrics``; 0 if there is none."""
        wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        start = f"pacsless_gateway_{name}" + (f"{{{wanted}}} " if labels else " ")
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(start):
                return float(line.removeprefix(start))
        return 0.0

    def options(self, **how: Any) -> Options:
        """Where to send to."""
        return Options(**{"port": self.port, "retries": 0, "timeout": 60.0, **how})

    def stored(self) -> dict[str, bytes]:
        """Return the content of every file of the archive, by key."""
        return {
            path.relative_to(self.archive).as_posix(): path.read_bytes()
            for path in self.archive.rglob("*")
            if path.is_file() and ".incoming" not in path.parts
        }

    def incoming(self) -> list[Path]:
        """Files without a key: those with a name, and those that a receiver has open."""
        found = list((self.archive / ".incoming").iterdir())
        for pid in self.receivers():
            for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):  # closed meanwhile
                    target = str(descriptor.readlink())
                    if "/.incoming/#" in target and target.endswith(" (deleted)"):
                        found.append(descriptor)
        return found

    def promised(self, kind: type[Event]) -> list[Event]:
        """Events of a kind in its journals."""
        return promised(self.spool, kind)

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Log lines with a message."""
        whole, _, _ = self.log.read_text().rpartition("\n")  # the rest is being written
        found = [json.loads(line) for line in whole.splitlines()]
        return [line for line in found if line["message"] == message]

    def receivers(self) -> list[int]:
        """Process ids of its receivers."""
        assert self.process is not None
        found: list[int] = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread ended
                found += map(int, children.read_text().split())
        return sorted(found)

    def peak_memory(self) -> int:
        """Bytes of the largest resident sets of its processes, added up."""
        assert self.process is not None
        total = 0
        for pid in (self.process.pid, *self.receivers()):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
        return total


def runs(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        # Its first thread may be through while others still hold its files.
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return threads > 1 or stat.rpartition(")")[2].split()[0] != "Z"


def data_set(part10: bytes) -> bytes:
    """Bytes of a file after its File Meta Information."""
    return part10[split_part10(BytesIO(part10)).dataset_offset :]


def sha256(content: bytes) -> str:
    """Digest as events state it."""
    return hashlib.sha256(content).hexdigest()
