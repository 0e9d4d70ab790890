"""Disks in files: loop-mounted file systems, and the state one has at an instant."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.eventually import eventually

_PROGRAMS: Final = ("mount", "umount", "losetup", "mkfs.ext4", "mkfs.xfs", "cp", "unshare")


class NoDisks(RuntimeError):
    """Disks in files cannot be made here."""


def require_disks() -> None:
    """Look whether disks can be made.

    Raises
    ------
    NoDisks
        And why not.
    """
    missing = [one for one in _PROGRAMS if shutil.which(one, path=_path()) is None]
    if os.geteuid() != 0:
        raise NoDisks("only root can mount file systems")
    if missing:
        raise NoDisks(f"not installed: {', '.join(missing)} (mount, e2fsprogs, xfsprogs)")
    if not Path("/dev/loop-control").exists():
        raise NoDisks("the kernel has no loop devices")
    # Root in a container may not be allowed to.
    _run("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "true")


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": _path()},
    )  # fmt: skip
    if done.returncode:
        raise NoDisks(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")


def make_disk(image: Path, kind: str, size: int) -> None:
    """Make an empty file system, ``xfs`` or ``ext4``, in a sparse file."""
    image.touch()
    os.truncate(image, size)
    if kind == "xfs":
        _run("mkfs.xfs", "-q", "-m", "reflink=1", image)
    else:
        # Nothing reserved for root: what is full is full for us.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", image)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    """Mount a file system that lies in a file; the loop device goes with the mount."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", image, folder)
    try:
        yield
    except BaseException:
        # Somebody may still use it; what went wrong is of more interest than that.
        _run("umount", "--lazy", folder)
        raise
    eventually(lambda: _unmounted(folder), within=10)


def _unmounted(folder: Path) -> bool:
    try:
        _run("umount", folder)
    except NoDisks as error:
        # Threads of killed processes may be on their way out.
        raise AssertionError(str(error)) from None
    return True


def snapshot(image: Path, copy: Path) -> None:
    """Copy a disk as it is at one instant, whatever writes to it.

    A reflink shares the blocks; XFS holds all writes to the file off meanwhile
    (FICLONE). So the copy is what a disk without a cache of its own has after a
    power cut: what the kernel still kept in memory is not in it.
    """
    _run("cp", "--reflink=always", image, copy)
