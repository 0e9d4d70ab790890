"""A file being received, on a local disk: the first half of both archives."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Self

from pacsless.archive import ArchiveUnavailable, Sealed


class IncomingFile:
    """Temporary file that hashes what is written to it (see `pacsless.archive.Incoming`)."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._path = folder / self.name
        self._digest = hashlib.sha256()
        self._size = 0
        self._sealed = False
        try:
            self._file = open(self._path, "xb", buffering=1 << 18)  # noqa: SIM115
        except OSError as error:
            raise unavailable("cannot write to the incoming folder", error) from error

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, hashing it."""
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise unavailable("cannot write the incoming file", error) from error
        self._size += len(data)
        return len(data)

    def seal(self) -> Sealed:
        """Make the file durable and say what it is."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise unavailable("cannot make the incoming file durable", error) from error
        self._sealed = True
        return Sealed(self.name, self._size, self._digest.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._sealed:
            try:
                self._file.close()
            finally:
                self._path.unlink(missing_ok=True)


def unavailable(what: str, error: OSError) -> ArchiveUnavailable:
    """Say which system error stopped the archive, without its path."""
    return ArchiveUnavailable("archive", f"{what}: {error.strerror or type(error).__name__}")


def sweep_folder(folder: Path, keep: set[str], older_than: float) -> int:
    """Remove files not in `keep` and older than `older_than` seconds; return how many."""
    removed = 0
    for entry in os.scandir(folder):
        if entry.name not in keep and time.time() - entry.stat().st_mtime >= older_than:
            Path(entry.path).unlink(missing_ok=True)
            removed += 1
    return removed
