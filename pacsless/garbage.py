"""When Python looks for garbage in cycles."""

from __future__ import annotations

import atexit
import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000


def collect_seldom() -> None:
    """Look for cycles seldom, and never among what is there by now.

    To be called once a process has imported what it needs. A batch of DICOM JSON is
    100,000 dicts and lists that die together, in no cycle: at Python's thresholds the
    collector runs a hundred times while one is read, for half of that time.
    """
    gc.freeze()
    # What is never looked at would be left when the interpreter ends, and some say so.
    atexit.register(gc.unfreeze)
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
