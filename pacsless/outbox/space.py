"""Whether the disks a gateway writes to are above their high-water mark."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class DiskSpace:
    """Remembers what the disks said last.

    Parameters
    ----------
    folders
        One on each disk.
    high_water_percent
        How full a disk may get before `is_full`, in bytes and in inodes.
    """

    def __init__(self, folders: Iterable[Path], high_water_percent: int) -> None:
        self._folders = tuple(folders)
        self._least_free = 1 - high_water_percent / 100
        self.is_full = False
        """Whether one of the disks is above the mark, or does not say."""
        self.look()

    def look(self) -> None:
        """Ask the disks; a disk that is stuck may keep its caller waiting."""
        self.is_full = any(map(self._is_above, self._folders))

    def _is_above(self, folder: Path) -> bool:
        try:
            disk = os.statvfs(folder)
        except OSError:
            return True
        # Without what is reserved for root: that is no space of ours.
        usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
        return disk.f_bavail < usable * self._least_free or (
            # Some file systems have no fixed number of inodes, and say 0.
            disk.f_favail < disk.f_files * self._least_free
        )
