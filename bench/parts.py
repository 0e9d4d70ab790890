"""Processor time and memory of the parts of a stack."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from pacsless.stack.settings import StackSettings
from pacsless.stack.supervision import Supervisor


def processor_seconds(stack: StackSettings) -> dict[str, float]:
    """Seconds each part and the processes below it have used since they started."""
    found: dict[str, float] = {}
    processes = dict(_processes())
    for pid, part in _parts(stack, processes).items():
        found[part] = found.get(part, 0.0) + processes[pid][1]
    return found


def peak_memory(stack: StackSettings) -> dict[str, float]:
    """MiB a process of each part has held at most since it started, of several the largest."""
    found: dict[str, float] = {}
    for pid, part in _parts(stack, dict(_processes())).items():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    found[part] = max(found.get(part, 0.0), int(line.split()[1]) / 1024)
    return found


def _parts(stack: StackSettings, processes: Mapping[int, tuple[int, float]]) -> dict[int, str]:
    """Which part each process is of, by pid; of the others nothing."""
    parts = {one.pid: one.name for one in Supervisor(stack).states() if one.pid}
    found = {}
    for pid in processes:
        above = pid
        while above not in parts and above in processes:
            above = processes[above][0]
        if above in parts:
            found[pid] = parts[above]
    return found


def _processes() -> list[tuple[int, tuple[int, float]]]:
    """Every process, its parent and its seconds in user and system mode: proc_pid_stat(5)."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / ticks
                found.append((int(entry.name), (int(fields[1]), seconds)))
    return found
