"""Folders of the archive, opened one below the other and never through a link."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

_OPEN_FOLDERS: Final = 256
_REMEMBERED_FOLDERS: Final = 100_000
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """An open folder; closed when nobody holds it any more."""

    __slots__ = ("_found", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._found = os.fstat(descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)

    def is_at(self, path: str) -> bool:
        """Whether it is what a path leads to.

        Raises
        ------
        FileNotFoundError
            If that leads nowhere.
        """
        return os.path.samestat(self._found, os.stat(path, follow_symlinks=False))

    def sync(self) -> None:
        """Make the names in it durable."""
        os.fsync(self.descriptor)


class Folders:
    """Makes and opens folders below a root; thread-safe.

    Every step of a path is opened in the folder before it and is never a
    symbolic link, so no path leads out of the root, whatever was put there:
    what openat2's RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS promise, on every
    kernel. Folders used last stay open, which spares looking a path up again
    for each file.

    Parameters
    ----------
    root
        Exists; may itself be reached through links.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, Folder] = OrderedDict()
        self._durable: set[str] = set()
        self._lock = threading.Lock()

    def get(self, path: str) -> Folder:
        """Open a folder, and make it and its parents, each durable in its parent.

        Parameters
        ----------
        path
            Relative, without ``.`` and ``..``: ``default/1.2/1.3``.

        Raises
        ------
        OSError
            If a step is a link or a file, or the disk refuses.
        """
        with self._lock:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
                return found
        found = self._walk(path)
        with self._lock:
            self._open[path] = found
            if len(self._open) > _OPEN_FOLDERS:
                self._open.popitem(last=False)
        return found

    def forget(self) -> None:
        """Forget every folder: somebody has removed one."""
        with self._lock:
            self._open.clear()
            self._durable.clear()

    def _walk(self, path: str) -> Folder:
        folder = Folder(os.open(self._root, _FLAGS & ~os.O_NOFOLLOW))
        walked = ""
        for name in path.split("/"):
            walked += f"{name}/"
            # One that exists may have been made a moment ago by somebody whose
            # fsync of the parent is still to come: only those that this process
            # made durable itself are skipped.
            if walked not in self._durable:
                self._make(folder, name)
                if len(self._durable) >= _REMEMBERED_FOLDERS:
                    self._durable.clear()
                self._durable.add(walked)
            folder = Folder(os.open(name, _FLAGS, dir_fd=folder.descriptor))
        return folder

    def _make(self, folder: Folder, name: str) -> None:
        try:
            os.mkdir(name, dir_fd=folder.descriptor)
        except FileExistsError:
            folder.sync()
            return
        try:
            folder.sync()
        except OSError:
            # Or the next one would find it there, and its fsync succeed for nothing.
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=folder.descriptor)
            raise
