"""Processor time of the parts of a stack."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pacsless.stack.settings import StackSettings
from pacsless.stack.supervision import Supervisor


def processor_seconds(stack: StackSettings) -> dict[str, float]:
    """Seconds each part and the processes below it have used since they started."""
    found: dict[str, float] = {}
    parts = {one.pid: one.name for one in Supervisor(stack).states() if one.pid}
    processes = dict(_processes())
    for pid, (_, seconds) in processes.items():
        above = pid
        while above not in parts and above in processes:
            above = processes[above][0]
        if above in parts:
            found[parts[above]] = found.get(parts[above], 0.0) + seconds
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
