"""The archive on a POSIX file system."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pacsless.archive import AlreadyKept, ArchiveUnfit, Sealed, Stat
from pacsless.archive.folders import Folder, Folders
from pacsless.archive.incoming import (
    IncomingFile,
    can_be_nameless,
    discard,
    link_descriptor,
    path_of,
    remove,
    sweep_folder,
    unavailable,
)
from pacsless.durable import sync_folder
from pacsless.errors import NotFound

INCOMING: Final = ".incoming"


class FileArchive:
    """Archive below one folder (see `pacsless.archive.Archive`).

    Incoming files lie in ``.incoming`` on the same file system, because a hard
    link and a rename need that; without a name, where that can be.

    Parameters
    ----------
    root
        Made if it is not there.
    nameless
        Whether incoming files have no name; found out if None.
    """

    def __init__(self, root: Path, *, nameless: bool | None = None) -> None:
        self.root = root.absolute()
        self._prefix = f"{self.root}/"
        self._incoming = self.root / INCOMING
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable("cannot make the archive's folder", error) from error
        self._folders = Folders(self.root)
        self._nameless = nameless

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)

    def _name(self, key: str) -> str:
        # A Path costs more than the system call it is for.
        return f"{self._prefix}{_checked(key)}"

    def incoming(self, owner: str = "") -> IncomingFile:
        """Open an incoming file."""
        if self._nameless is None:
            self._nameless = can_be_nameless(self._incoming, owner)
        return IncomingFile(self._incoming, owner, nameless=self._nameless)

    def probe(self) -> None:
        """See whether a file can be linked, and is not replaced then."""
        key = f"{INCOMING}/probe.{uuid.uuid4().hex}"
        try:
            with self.incoming() as first, self.incoming() as second:
                self._keep(first.seal(), key)
                loser = second.seal()
                try:
                    self._keep(loser, key)
                except FileExistsError:
                    return
                finally:
                    self.discard(loser)
        except OSError as error:
            raise unavailable("cannot link files in the archive", error) from error
        finally:
            remove(self.root / key)
        raise ArchiveUnfit("archive", "the file system replaces files that are linked over")

    def sealed(self, name: str) -> Path | None:
        """Path of a sealed file that was left without a key."""
        path = self._incoming / name
        return path if path.is_file() else None

    def path_of(self, sealed: Sealed) -> Path:
        """Path to read a sealed file by."""
        return path_of(self._incoming, sealed)

    def keep(self, sealed: Sealed, key: str) -> None:
        """Link the file under its key: link(2) never replaces, so a race has one winner."""
        try:
            self._keep(sealed, _checked(key))
        except FileExistsError:
            raise AlreadyKept("already-kept", "the key is taken") from None
        except OSError as error:
            raise unavailable("cannot keep the file", error) from error

    def _keep(self, sealed: Sealed, key: str) -> None:
        def link(folder: Folder, name: str) -> None:
            try:
                if sealed.file is not None:
                    link_descriptor(sealed.file.descriptor, name, folder.descriptor)
                else:
                    os.link(
                        self._incoming / sealed.name,
                        name,
                        dst_dir_fd=folder.descriptor,
                        follow_symlinks=False,
                    )
            except FileExistsError:
                # The winner may not be this far yet, and the loser is about to
                # call its file durable.
                folder.sync()
                raise
            self._settle(folder, name, key, sealed)

        self._into(key, link)
        self.discard(sealed)

    def _settle(self, folder: Folder, name: str, key: str, sealed: Sealed) -> None:
        """Make a new name durable, and see that it is the key's.

        Raises
        ------
        OSError
            If the disk refuses, or somebody has moved the folder or deleted the file
            just now. The name is gone then: a later fsync would succeed for nothing.
        """
        try:
            folder.sync()
            if not os.path.samestat(
                os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False),
                os.stat(f"{self.root}/{key}", follow_symlinks=False),
            ):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError:
            self._folders.forget()
            with contextlib.suppress(OSError):  # the first error counts
                there = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
                # Ours may have been deleted, and another be stored since.
                if os.path.samestat(there, self._stat_of(sealed)):
                    os.unlink(name, dir_fd=folder.descriptor)
            raise

    def _stat_of(self, sealed: Sealed) -> os.stat_result:
        if sealed.file is not None:
            return os.fstat(sealed.file.descriptor)
        return os.stat(self._incoming / sealed.name)

    def discard(self, sealed: Sealed) -> None:
        """Be done with a sealed file."""
        discard(self._incoming, sealed)

    def sweep(self, older_than: float, owner: str = "") -> int:
        """Remove forgotten incoming files."""
        return sweep_folder(self._incoming, older_than, owner)

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        """Open a file for reading."""
        try:
            # A size said here saves asking whether the file is a terminal.
            return open(self._name(key), "rb", io.DEFAULT_BUFFER_SIZE)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("no-such-key", "no such file in the archive") from None
        except OSError as error:
            raise unavailable("cannot read the file", error) from error

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Read a piece of a file."""
        with self.open(key) as file:
            try:
                file.seek(offset)
                return file.read(length)
            except OSError as error:
                raise unavailable("cannot read the file", error) from error

    def stat(self, key: str) -> Stat | None:
        """Size and age of a file, or None."""
        try:
            return _stat(key, os.stat(self._name(key)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unavailable("cannot look at the file", error) from error

    def replace(self, key: str, data: bytes) -> None:
        """Write beside, then rename over."""
        temporary = self._incoming / uuid.uuid4().hex

        def rename(folder: Folder, name: str) -> None:
            os.rename(temporary, name, dst_dir_fd=folder.descriptor)
            folder.sync()

        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._into(_checked(key), rename)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise unavailable("cannot write the derived file", error) from error

    def list(self, prefix: str) -> Iterator[Stat]:
        """Files below a folder."""
        start = len(str(self.root)) + 1
        stack = [str(self._path(prefix.rstrip("/")) if prefix else self.root)]
        while stack:
            try:
                entries = os.scandir(stack.pop())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise unavailable("cannot list a folder", error) from error
            with entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield _stat(entry.path[start:], entry.stat(follow_symlinks=False))

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below a folder."""
        path = self._path(prefix.rstrip("/")) if prefix else self.root
        try:
            entries = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise unavailable("cannot list a folder", error) from error
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield entry.name

    def remove(self, key: str) -> None:
        """Remove a file."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            # Also if another has just removed it, who may not be this far yet.
            sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise unavailable("cannot remove the file", error) from error

    @property
    def is_local(self) -> bool:
        """They are on this disk."""
        return True

    def local_path(self, key: str) -> Path:
        """Path of a file."""
        return self._path(key)

    def _into(self, key: str, put: Callable[[Folder, str], None]) -> None:
        """Put a file into its folder, and once more if somebody had removed the folder."""
        path, _, name = key.rpartition("/")
        try:
            put(self._folder(path), name)
        except FileNotFoundError:
            self._folders.forget()
            put(self._folder(path), name)

    def _folder(self, path: str) -> Folder:
        """Open a folder, and see that it still is where it was when it was opened first."""
        folder = self._folders.get(path)
        with contextlib.suppress(FileNotFoundError):
            if folder.is_at(f"{self.root}/{path}"):
                return folder
        self._folders.forget()
        return self._folders.get(path)


def _stat(key: str, found: os.stat_result) -> Stat:
    return Stat(key, found.st_size, found.st_mtime, found.st_ctime)


def _checked(key: str) -> str:
    # Keys are made of validated names; this is the second lock on the door.
    if key.startswith(("/", ".")) or "/." in key or "\0" in key:
        raise NotFound("no-such-key", "not a key of the archive")
    return key
