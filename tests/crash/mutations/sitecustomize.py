"""The gateway with one step of durability left out: the harness must notice.

Python imports this module before anything else if its folder is first in
``PYTHONPATH``. ``PACSLESS_CRASH_WITHOUT`` names the step; if what is to be
replaced is not there the process ends at once, as nothing would be proved:

- ``file-fsync``: the file is not on the disk when its key is;
- ``directory-fsync``: its key is not;
- ``journal-fsync``: the promise to announce it is written, and not waited for;
- ``journal``: the promise is written after the acknowledgement.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any


def _without_file_fsync() -> None:
    """What is received is left to the kernel."""
    owner, name = _there("pacsless.archive.incoming", "IncomingFile", "seal")
    seal, fsync = getattr(owner, name), os.fsync
    sealing = threading.local()

    def seal_unsynced(self: Any, *arguments: Any) -> Any:
        sealing.now = True
        try:
            return seal(self, *arguments)
        finally:
            sealing.now = False

    def fsync_elsewhere(descriptor: int) -> None:
        if getattr(sealing, "now", False):
            _reached()
        else:
            fsync(descriptor)

    setattr(owner, name, seal_unsynced)
    os.fsync = fsync_elsewhere  # type: ignore[assignment]


def _without_directory_fsync() -> None:
    """Links are not made durable in their folders."""
    owner, name = _there("pacsless.archive.folders", "Folder", "sync")

    def sync(self: Any) -> None:
        _reached()

    setattr(owner, name, sync)


def _without_journal_fsync() -> None:
    """Promises are written, and not waited for."""
    owner, name = _there("pacsless.outbox.journal", "Journal", "append_durably")
    _there("pacsless.outbox.journal", "Journal", "append")

    def append_durably(self: Any, *bodies: bytes) -> Any:
        _reached()
        return self.append(*bodies)

    setattr(owner, name, append_durably)


def _without_journal() -> None:
    """Promises are written with what follows them: after the acknowledgement."""
    owner, name = _there("pacsless.outbox.journal", "Journal", "append_durably")
    _there("pacsless.outbox.journal", "Journal", "append")
    append = owner.append
    held: list[bytes] = []

    def append_durably(self: Any, *bodies: bytes) -> Any:
        _reached()
        held.extend(bodies)
        return self.next_segment

    def append_held(self: Any, *bodies: bytes) -> Any:
        before, held[:] = tuple(held), []
        return append(self, *before, *bodies)

    setattr(owner, name, append_durably)
    owner.append = append_held


def _there(module: str, owner: str, name: str) -> tuple[Any, str]:
    found = getattr(importlib.import_module(module), owner)
    if not callable(getattr(found, name)):
        raise AttributeError(f"{module}.{owner}.{name} cannot be replaced")
    return found, name


def _reached() -> None:
    Path(os.environ["PACSLESS_CRASH_PROOF"], str(os.getpid())).touch()


STEPS = {
    "file-fsync": _without_file_fsync,
    "directory-fsync": _without_directory_fsync,
    "journal-fsync": _without_journal_fsync,
    "journal": _without_journal,
}

try:
    STEPS[os.environ["PACSLESS_CRASH_WITHOUT"]]()
except BaseException:  # noqa: BLE001  # Python would go on without it
    traceback.print_exc()
    print("the mutation cannot be made; see above", file=sys.stderr, flush=True)
    os._exit(70)
