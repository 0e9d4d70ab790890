"""A file being received, on a local disk: the first half of both archives."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Final, Self

from pacsless.archive import ArchiveUnavailable, OpenFile, Sealed

_BUFFER_BYTES: Final = 128 << 10
_SYNC_BYTES: Final = 64 << 20
"""Data after which the disk is waited for: else a sender of gigabytes would wait for all of
them after its last byte, and memory would fill with what is not written yet."""
_NOT_NOW: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EROFS}
_log = logging.getLogger(__name__)


class IncomingFile:
    """File that hashes what is written to it (see `pacsless.archive.Incoming`).

    Parameters
    ----------
    folder
        Where it lies until it has its key.
    owner
        Whose it is, for the sweep.
    nameless
        Whether to give it no name (O_TMPFILE): making and removing one costs
        more than the rest, and a crash leaves nothing behind.
    """

    def __init__(self, folder: Path, owner: str = "", *, nameless: bool = False) -> None:
        self.name = "" if nameless else f"{owner}.{uuid.uuid4().hex}".lstrip(".")
        self._path = f"{folder}/{self.name}"
        self._digest = hashlib.sha256()
        self._size = 0
        self._unsynced = 0
        self._pending = bytearray()
        flags = os.O_TMPFILE if nameless else os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(self._path, flags | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unavailable("cannot write to the incoming folder", error) from error
        self._file = OpenFile(descriptor)
        self._is_sealed = False

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, hashing it."""
        self._digest.update(data)
        self._size += len(data)
        if len(self._pending) + len(data) <= _BUFFER_BYTES:
            self._pending += data
            return len(data)
        try:
            self._flush()
            self._write(data)
            if self._unsynced >= _SYNC_BYTES:
                os.fdatasync(self._file.descriptor)
                self._unsynced = 0
        except OSError as error:
            raise unavailable("cannot write the incoming file", error) from error
        return len(data)

    def _flush(self) -> None:
        if self._pending:
            self._write(self._pending)
            self._pending.clear()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.write(self._file.descriptor, view[written:])
            self._unsynced += written

    def seal(self, received_ns: int | None = None) -> Sealed:
        """Make the file durable and say what it is."""
        try:
            self._flush()
            if received_ns is not None:
                os.utime(self._file.descriptor, ns=(received_ns, received_ns))
            os.fsync(self._file.descriptor)
        except OSError as error:
            raise unavailable("cannot make the incoming file durable", error) from error
        self._is_sealed = True
        if self.name:
            self._file.close()
        file = None if self.name else self._file
        return Sealed(self.name, self._size, self._digest.hexdigest(), file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._is_sealed:
            self._file.close()
            if self.name:
                remove(Path(self._path))


def remove(path: Path) -> None:
    """Remove a name that is of no use any more, or leave it to the sweep."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("a file was left to the sweep", extra={"fields": {"errno": error.errno}})


def path_of(folder: Path, sealed: Sealed) -> Path:
    """Path to read a sealed file by."""
    if sealed.file is not None:
        return Path(f"/proc/self/fd/{sealed.file.descriptor}")
    return folder / sealed.name


def discard(folder: Path, sealed: Sealed) -> None:
    """Be done with a sealed file."""
    if sealed.file is not None:
        sealed.file.close()
    else:
        remove(folder / sealed.name)


def can_be_nameless(folder: Path, owner: str = "") -> bool:
    """Whether files without a name can be made here, and be given one later.

    That takes a file system with O_TMPFILE, and /proc. What a crash leaves of
    this is the owner's, for the sweep.

    Raises
    ------
    ArchiveUnavailable
        If the disk does not let it be tried: it is full, perhaps.
    """
    name = f"{owner}.probe-{uuid.uuid4().hex}".lstrip(".")
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                link_descriptor(descriptor, name, parent)
                os.unlink(name, dir_fd=parent)
            finally:
                os.close(parent)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NOT_NOW:
            raise unavailable("cannot write to the incoming folder", error) from error
        return False
    return True


def link_descriptor(descriptor: int, name: str, folder: int) -> None:
    """Give an open file without a name one in an open folder; never replaces (linkat(2))."""
    os.link(
        f"/proc/self/fd/{descriptor}",
        name,
        src_dir_fd=folder,
        dst_dir_fd=folder,
        follow_symlinks=True,
    )


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
            # Not the time of modification, which says when it began to be received.
            if time.time() - entry.stat().st_ctime >= older_than:
                os.unlink(entry.path)
                removed += 1
        except FileNotFoundError:
            continue  # it got its key just now
    return removed
