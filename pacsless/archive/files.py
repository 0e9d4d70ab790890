"""The archive on a POSIX file system."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pacsless.archive import AlreadyKept, Sealed, Stat
from pacsless.archive.folders import Folder, Folders
from pacsless.archive.incoming import IncomingFile, sweep_folder, unavailable
from pacsless.errors import NotFound

INCOMING: Final = ".incoming"


class FileArchive:
    """Archive below one folder (see `pacsless.archive.Archive`).

    Temporary files lie in ``.incoming`` on the same file system, because a hard
    link and a rename need that.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._incoming = self.root / INCOMING
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable("cannot make the archive's folder", error) from error
        self._folders = Folders(self.root)

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)

    def incoming(self, owner: str = "") -> IncomingFile:
        """Open a temporary file."""
        return IncomingFile(self._incoming, owner)

    def sealed(self, name: str) -> Path | None:
        """Path of a sealed file that has no key yet."""
        path = self._incoming / name
        return path if path.is_file() else None

    def keep(self, sealed: Sealed, key: str) -> None:
        """Link the file under its key: link(2) never replaces, so a race has one winner."""
        source = str(self._incoming / sealed.name)

        def link(folder: Folder, name: str) -> None:
            try:
                os.link(source, name, dst_dir_fd=folder.descriptor, follow_symlinks=False)
            finally:
                # Also when the key is taken: the winner may not be this far yet,
                # and the loser is about to call its file durable.
                folder.sync()

        try:
            self._into(key, link)
            os.unlink(source)
        except FileExistsError:
            raise AlreadyKept("already-kept", "the key is taken") from None
        except OSError as error:
            raise unavailable("cannot keep the file", error) from error

    def discard(self, sealed: Sealed) -> None:
        """Remove a sealed file that gets no key."""
        (self._incoming / sealed.name).unlink(missing_ok=True)

    def sweep(self, older_than: float, owner: str = "") -> int:
        """Remove forgotten incoming files."""
        return sweep_folder(self._incoming, older_than, owner)

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""
        try:
            return open(self._path(key), "rb")
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("no-such-key", "no such file in the archive") from None
        except OSError as error:
            raise unavailable("cannot read the file", error) from error

    def stat(self, key: str) -> Stat | None:
        """Size and age of a file, or None."""
        try:
            found = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unavailable("cannot look at the file", error) from error
        return Stat(key, found.st_size, found.st_mtime)

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
            self._into(key, rename)
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
            with entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield Stat(entry.path[start:], found.st_size, found.st_mtime)

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below a folder."""
        path = self._path(prefix.rstrip("/")) if prefix else self.root
        try:
            entries = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield entry.name

    def remove(self, key: str) -> None:
        """Remove a file."""
        try:
            self._path(key).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise unavailable("cannot remove the file", error) from error

    def local_path(self, key: str) -> Path:
        """Path nginx can serve the file from."""
        return self._path(key)

    def _into(self, key: str, put: Callable[[Folder, str], None]) -> None:
        """Put a file into its folder, and once more if somebody had removed the folder."""
        path, _, name = _checked(key).rpartition("/")
        try:
            put(self._folders.get(path), name)
        except FileNotFoundError:
            self._folders.forget()
            put(self._folders.get(path), name)


def _checked(key: str) -> str:
    # Keys are made of validated names; this is the second lock on the door.
    if key.startswith(("/", ".")) or "/." in key or "\0" in key:
        raise NotFound("no-such-key", "not a key of the archive")
    return key
