"""Processes of a stack that supervisord no longer answers for.

``python -m pacsless.stack.processes COMMAND…`` becomes the command after
`quit_orphans`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from pacsless.stack.errors import StackError


def end_session(session: int) -> None:
    """End every process of a supervisord's session, and wait until they are gone.

    Raises
    ------
    StackError
        If one survives SIGKILL.
    """
    # supervisord leads a session its children stay in, so they are found even
    # after it was killed; the kernel gives a session's number to no other
    # process while one of its members lives. A leader that is there must be a
    # supervisord: otherwise all members are gone and the number is in use again.
    leader = _command_line(session)
    if leader and "supervisor" not in leader:
        return
    limit = time.monotonic() + 30
    for number, seconds in ((0, 5.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        deadline = min(limit, time.monotonic() + seconds)
        members = _members(session)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while members and time.monotonic() < deadline:
            time.sleep(0.02)
            members = _members(session)
        if not members:
            return
    raise StackError(
        "processes", f"processes {list(_members(session))} do not end: kill them by hand"
    )


def quit_orphans() -> None:
    """Send SIGQUIT to what parts of this stack that were killed have left behind.

    nginx's workers outlive a killed master and keep its port, on which the next
    one could not listen; at SIGQUIT they leave it, and end after their last answer.
    """
    session = os.getsid(0)
    if "supervisor" not in _command_line(session):
        return  # run by hand: a shell's session holds what is none of ours
    # supervisord makes every part lead a process group.
    members = _members(session)
    for pid, group in members.items():
        if group not in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)


def _members(session: int) -> dict[int, int]:
    """Process group of every process of a session."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found[int(entry.name)] = int(fields[2])
    return found


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""


if __name__ == "__main__":
    quit_orphans()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606
