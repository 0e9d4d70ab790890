"""Readers: `wrk`, which needs so little itself that it is the servers that are measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

WRK = "wrk"
_WALK = Path(__file__).with_name("walk.lua")
_PATIENCE = 60
"""Seconds a client waits for an answer."""


class Unread(Exception):
    """A server did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What clients got.

    Attributes
    ----------
    requests
        Answers that came whole.
    seconds
        How long it took.
    bytes
        Of all answers, also of those that had not come whole at the end.
    refused
        Answers with a status that is no success.
    failed
        Requests without an answer.
    closed
        Connections a server has closed, by which some say that an answer is at its end.
    p50, p95
        Milliseconds from request to the answer's end.
    """

    requests: int
    seconds: float
    bytes: int
    refused: int
    failed: int
    closed: int
    p50: float
    p95: float

    @classmethod
    def of(cls, output: str) -> Self:
        """Read what `walk.lua` prints at the end of wrk's own lines.

        Raises
        ------
        Unread
            If a request failed or was refused.
        """
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if not lines:
            raise Unread("wrk ended without a result")
        found = cls(**json.loads(lines[-1]))
        unanswered = found.failed + max(0, found.closed - found.requests)
        if found.refused or unanswered:
            raise Unread(f"{found.refused} requests were refused and {unanswered} had no answer")
        return found

    def rate(self, size: int) -> float:
        """Answers a second, the parts of those that had begun counted.

        Few large ones would otherwise count as many or as few as happened to end in time.

        Parameters
        ----------
        size
            Bytes of an answer with its head.

        Raises
        ------
        Unread
            If answers are not as long as they should be.
        """
        if self.requests and not 0.8 < self.bytes / self.requests / size < _UNFINISHED:
            raise Unread(f"answers have {self.bytes // self.requests} bytes, not {size}")
        if self.requests >= _MANY:
            return self.requests / self.seconds
        return self.bytes / size / self.seconds


_MANY = 200
_UNFINISHED = 3.0
"""By so much, at most, bytes exceed what came whole."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What clients ask for.

    Attributes
    ----------
    origin
        ``http://host:port``.
    paths
        To go through.
    headers
        Of each request.
    """

    origin: str
    paths: Sequence[str]
    headers: Mapping[str, str]

    def read(self, clients: int, seconds: float, folder: Path) -> Reading:
        """Have clients read for some seconds, each the next path as soon as it can.

        Raises
        ------
        Unread
            If a request failed or was refused.
        """
        walked = folder / "paths"
        walked.write_text("".join(f"{one}\n" for one in self.paths))
        threads = min(clients, os.cpu_count() or 1)
        headers = [f"{name}: {value}" for name, value in self.headers.items()]
        done = subprocess.run(
            [
                WRK, f"-t{threads}", f"-c{clients}", f"-d{max(1, round(seconds))}s",
                f"--timeout={_PATIENCE}s", f"--script={_WALK}",
                *(word for one in headers for word in ("-H", one)),
                self.origin, "--", str(walked),
            ],
            capture_output=True, text=True, check=False, timeout=seconds + 3 * _PATIENCE,
        )  # fmt: skip
        if done.returncode:
            raise Unread(f"wrk: {done.stderr.strip()[:200]}")
        return Reading.of(done.stdout)


def require() -> None:
    """See that wrk is there."""
    if shutil.which(WRK) is None:
        raise SystemExit("bench: wrk is missing: apt-get install wrk")


def version() -> str:
    """Return which wrk it is."""
    said = subprocess.run([WRK, "-v"], capture_output=True, text=True, check=False)
    return " ".join((said.stdout or said.stderr).split()[:2])
