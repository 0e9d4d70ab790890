"""A file being received, on a local disk: the first half of both archives."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Final, Self

from pacsless.archive import ArchiveUnavailable, Sealed

_SYNC_BYTES: Final = 64 << 20
"""Data after which the disk is waited for: else a sender of gigabytes would wait for all of
them after its last byte, and memory would fill with what is not written yet."""


class IncomingFile:
    """Temporary file that hashes what is written to it (see `pacsless.archive.Incoming`)."""

    def __init__(self, folder: Path, owner: str = "") -> None:
        self.name = f"{owner}.{uuid.uuid4().hex}" if owner else uuid.uuid4().hex
        self._path = os.path.join(folder, self.name)
        self._digest = hashlib.sha256()
        self._size = 0
        self._unsynced = 0
        self._sealed = False
        try:
            self._file = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666
            )
        except OSError as error:
            raise unavailable("cannot write to the incoming folder", error) from error

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, hashing it."""
        self._digest.update(data)
        length = len(data)
        try:
            written = os.write(self._file, data)
            while written < length:
                written += os.write(self._file, memoryview(data)[written:])
            self._unsynced += length
            if self._unsynced >= _SYNC_BYTES:
                os.fdatasync(self._file)
                self._unsynced = 0
        except OSError as error:
            raise unavailable("cannot write the incoming file", error) from error
        self._size += length
        return length

    def seal(self) -> Sealed:
        """Make the file durable and say what it is."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise unavailable("cannot make the incoming file durable", error) from error
        self._sealed = True
        os.close(self._file)
        return Sealed(self.name, self._size, self._digest.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._sealed:
            self._sealed = True
            os.close(self._file)
            Path(self._path).unlink(missing_ok=True)


def unavailable(what: str, error: OSError) -> ArchiveUnavailable:
    """Say which system error stopped the archive, without its path."""
    return ArchiveUnavailable("archive", f"{what}: {error.strerror or type(error).__name__}")


def sweep_folder(folder: Path, older_than: float, owner: str) -> int:
    """Remove files of an owner, or all, older than `older_than` seconds; return how many."""
    removed = 0
    for entry in os.scandir(folder):
        if owner and not entry.name.startswith(f"{owner}."):
            continue
        try:
            if time.time() - entry.stat().st_mtime >= older_than:
                os.unlink(entry.path)
                removed += 1
        except FileNotFoundError:
            continue  # it got its key just now
    return removed
