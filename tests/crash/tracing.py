"""strace: the system calls of a thread, and a kill at one of them.

``when=N`` of an injection counts a system call's uses by each traced thread
from the moment strace attached. Attached to one thread alone, that has done
nothing yet but wait, N names one point whatever other threads do.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.eventually import eventually

# fmt: off
CHANGING: Final = (
    "openat", "openat2", "mkdir", "mkdirat", "write", "writev", "pwrite64", "pwritev", "splice",
    "copy_file_range", "sendfile", "fallocate", "ftruncate", "fsync", "fdatasync", "link", "linkat",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "sendto", "sendmsg", "close",
)
"""System calls that change what a crash leaves."""
DURABLE: Final = frozenset({
    "fsync", "fdatasync", "link", "linkat", "rename", "renameat", "renameat2",
})
"""Those that the promise of an acknowledgement is made of."""
# fmt: on
_LINE: Final = re.compile(r"(\d+) +([\w]+)\((.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call of a traced thread."""

    thread: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Point:
    """Where to kill: at the entry of the `nth` use of a system call."""

    name: str
    nth: int
    what: str
    """For people."""


@contextmanager
def strace(threads: Sequence[int], *options: str, output: Path) -> Iterator[None]:
    """Trace some threads."""
    attach = [argument for one in threads for argument in ("-p", str(one))]
    with open(output.with_suffix(".err"), "wb") as errors:
        process = subprocess.Popen(
            ["strace", "-qq", "-s", "0", "-y", *options, "-o", str(output), *attach],
            stdout=errors,
            stderr=errors,
        )
    try:
        eventually(lambda: _attached(process, threads), within=20)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """Trace all threads of a process."""
    with strace([pid], "-f", "-e", "trace=" + ",".join(CHANGING), output=output):
        yield


def _attached(process: subprocess.Popen[bytes], threads: Sequence[int]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"strace cannot attach: it ended with {process.returncode}")
    return all(_tracer(one) == process.pid for one in threads)


def _tracer(thread: int) -> int:
    status = Path(f"/proc/{thread}/status").read_text()
    return int(status.partition("TracerPid:")[2].split()[0])


def read_calls(output: Path) -> list[Call]:
    """Read the calls a trace of several threads shows, in order of their beginnings."""
    lines = map(_LINE.match, output.read_text().splitlines())
    return [Call(int(one[1]), one[2], one[3]) for one in lines if one]


def points(calls: Iterable[Call], thread: int) -> list[Point]:
    """Where a thread can be killed with another outcome than just before."""
    seen: Counter[str] = Counter()
    found: list[Point] = []
    for call in calls:
        if call.thread != thread:
            continue
        seen[call.name] += 1
        if _changes(call):
            what = re.sub(r"<[^>]*/", "<", call.arguments)[:60]
            found.append(Point(call.name, seen[call.name], f"{call.name}({what}"))
    return found


def _changes(call: Call) -> bool:
    """Whether a crash after the call may find something else than one before."""
    if call.name in ("openat", "openat2"):
        return "O_CREAT" in call.arguments
    return call.name != "close"


@contextmanager
def killed_at(point: Point, thread: int, output: Path) -> Iterator[None]:
    """Have the kernel kill the thread's process at the entry of a call, which is not made."""
    calls = f"trace={point.name}"
    injection = f"inject={point.name}:signal=SIGKILL:when={point.nth}"
    with strace([thread], "-e", calls, "-e", injection, output=output):
        yield
