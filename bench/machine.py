"""What the reader of a rate must know of the machine; no names, no paths."""

from __future__ import annotations

import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_VOLATILE = {"tmpfs", "ramfs", "devtmpfs"}


def file_system(folder: Path) -> str:
    """Type of the file system a folder lies on, ``ext4``."""
    best, kind = Path("/"), "?"
    resolved = folder.resolve()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, one, *_ = line.split()
        point = Path(mount.replace("\\040", " "))
        if resolved.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, one
    return kind


def is_volatile(folder: Path) -> bool:
    """Whether a folder lies in memory, where fsync means nothing."""
    return file_system(folder) in _VOLATILE


def prepare(folder: Path) -> float:
    """Make the folder of a measurement; return the load average before it.

    Raises
    ------
    SystemExit
        If it lies in memory.
    """
    if (load := os.getloadavg()[0]) > 0.25:
        print(
            f"warning: the machine is busy with something else (load {load:.2f})",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if is_volatile(folder):
        raise SystemExit("bench: --folder lies in memory, where nothing is durable: name another")
    return load


def memory_folder(needed: int) -> Path | None:
    """A folder in memory, if there is one with room for so many bytes."""
    folder = Path("/dev/shm")
    if not folder.is_dir() or not os.access(folder, os.W_OK) or not is_volatile(folder):
        return None
    state = os.statvfs(folder)
    free = min(state.f_bavail * state.f_frsize, _meminfo("MemAvailable") // 2)
    return folder if free >= needed else None


def facts(folder: Path) -> dict[str, str]:
    """Date, processor, memory, kernel, disk."""
    model = "?"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{_meminfo('MemTotal') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": file_system(folder),
        "Python": f"{platform.python_version()}, {_python_build()}",
        "durable writes by one thread": f"{_durable_writes(folder, 524_288):.0f}/s of 512 KiB, "
        f"{_durable_writes(folder, 8192):.0f}/s of 8 KiB (write, fsync, rename, fsync the folder)",
    }


def _python_build() -> str:
    """Where it comes from: one that was not optimised by a profile needs 1.5 times the time."""
    where = "the system's" if sys.base_prefix == "/usr" else "not the system's"
    return f"{where} ({platform.python_compiler()})"


class Others:
    """How much of the processors other programs took since this was made."""

    def __init__(self) -> None:
        self._all, self._own, self._start = _busy_seconds(), _own_seconds(), time.monotonic()

    def share(self) -> float:
        """Part of all cores' time; to be asked when everything we started has ended."""
        theirs = _busy_seconds() - self._all - (_own_seconds() - self._own)
        return max(0.0, theirs) / (time.monotonic() - self._start) / (os.cpu_count() or 1)


def _busy_seconds() -> float:
    """Seconds all cores spent in programs: user, nice and system of proc_stat(5)."""
    ticks = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return sum(os.times()[:4])


def _meminfo(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _durable_writes(folder: Path, size: int, seconds: float = 1.0) -> float:
    """How often a second one thread can make a file durable: what no receiver can escape."""
    content = os.urandom(size)
    temporary, final = folder / "probe.tmp", folder / "probe"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    count, start = 0, time.perf_counter()
    try:
        while (elapsed := time.perf_counter() - start) < seconds:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(final)
            os.fsync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
        final.unlink(missing_ok=True)
    return count / elapsed
