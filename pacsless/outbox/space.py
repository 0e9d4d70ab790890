"""Whether the disks a gateway writes to are above their high-water mark."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 1.0


class DiskSpace:
    """Looks at disks at most once a second.

    Parameters
    ----------
    folders
        One on each disk.
    high_water_percent
        How full a disk may get before `is_full`.
    """

    def __init__(self, folders: Iterable[Path], high_water_percent: int) -> None:
        self._folders = tuple(folders)
        self._low_space = 1 - high_water_percent / 100
        self._seen = (float("-inf"), False)

    @property
    def is_full(self) -> bool:
        """Whether one of the disks is above the mark."""
        seen_at, full = self._seen
        if time.monotonic() - seen_at > _LOOK_SECONDS:
            full = any(map(self._above, self._folders))
            self._seen = time.monotonic(), full
        return full

    def _above(self, folder: Path) -> bool:
        disk = shutil.disk_usage(folder)
        # Not of `total`: what is reserved for root is no space of ours.
        return disk.free < (disk.used + disk.free) * self._low_space
