"""A file system in memory that becomes a layer, always of the same bytes."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from images.layout import CONSTANT_TIME

# Debian 12 has one place for programs and libraries; packages still name the old ones.
_MERGED: Final = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a link or a folder."""

    kind: bytes
    mode: int
    content: bytes = b""
    target: str = ""
    owner: int = 0
    time: int = CONSTANT_TIME


@dataclass(slots=True)
class Tree:
    """Paths without a leading slash, and what is there; folders on the way come by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, content: bytes, mode: int = 0o644, time: int = CONSTANT_TIME) -> None:
        """Put a file."""
        self.entries[merged(path)] = Entry(tarfile.REGTYPE, mode, content, time=time)

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link."""
        self.entries[merged(path)] = Entry(tarfile.SYMTYPE, 0o777, target=target)

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Put a folder that is empty, or not as others are."""
        self.entries[merged(path)] = Entry(tarfile.DIRTYPE, mode, owner=owner)

    def folder_of(self, source: Path, path: str, time: int = CONSTANT_TIME) -> None:
        """Put all files below a folder of this machine, without what Python compiled there."""
        for one in sorted(source.rglob("*")):
            name = f"{path}/{one.relative_to(source).as_posix()}"
            if "__pycache__" in one.parts or one.is_dir():
                continue
            if one.is_symlink():
                self.link(name, str(one.readlink()))
            else:
                executable = bool(one.stat().st_mode & stat.S_IXUSR)
                self.file(name, one.read_bytes(), 0o755 if executable else 0o644, time)

    def archive(self, member: tarfile.TarInfo, content: bytes) -> None:
        """Put a member of another archive, as root's and with its own time."""
        path = merged(member.name.removeprefix("./").rstrip("/"))
        if not path:
            return
        if member.isdir():
            if path not in _MERGED:
                self.entries[path] = Entry(tarfile.DIRTYPE, member.mode & 0o1777)
            return
        if member.islnk():
            self.entries[path] = self.entries[merged(member.linkname.removeprefix("./"))]
            return
        # A program that becomes root has no place where nobody is to become root.
        mode = member.mode & 0o777
        self.entries[path] = Entry(
            member.type, mode, content, member.linkname, time=int(member.mtime)
        )

    def remove(self, pattern: str) -> bool:
        """Remove what matches, and what is below it; tell whether anything did."""
        gone = [path for path in self.entries if matches(path, pattern)]
        for path in gone:
            del self.entries[path]
        return bool(gone)

    def files(self, pattern: str = "") -> Iterator[tuple[str, bytes]]:
        """Paths and contents of the files that match; links are followed by nobody."""
        for path, entry in sorted(self.entries.items()):
            if entry.kind == tarfile.REGTYPE and (not pattern or matches(path, pattern)):
                yield path, entry.content

    def layer(self) -> bytes:
        """The tree as an uncompressed layer."""
        everything = dict(self.entries)
        for path in self.entries:
            for parent in PurePosixPath(path).parents:
                name = parent.as_posix()
                if name != "." and name not in everything:
                    everything[name] = Entry(tarfile.DIRTYPE, 0o755)
        content = io.BytesIO()
        # The old format has no place for anything but what is set here.
        with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as layer:
            for path, entry in sorted(everything.items()):
                member = tarfile.TarInfo(path)
                member.type, member.mode, member.linkname = entry.kind, entry.mode, entry.target
                member.uid = member.gid = entry.owner
                member.mtime, member.size = entry.time, len(entry.content)
                layer.addfile(member, io.BytesIO(entry.content))
        return content.getvalue()

    def digest(self) -> str:
        """SHA-256 of everything in it."""
        return hashlib.sha256(self.layer()).hexdigest()


def merged(path: str) -> str:
    """Where a path is when ``/bin`` is a link to ``/usr/bin``."""
    path = path.lstrip("/")
    first, _, rest = path.partition("/")
    return f"usr/{path}" if first in _MERGED and rest else path


def matches(path: str, pattern: str) -> bool:
    """Whether a path, or a folder it is in, has a pattern: ``*``, ``?``, ``[abc]``, ``[!abc]``.

    None of them stands for a slash.
    """
    return _expression(pattern).match(path) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\*|\?|\[!?[^]/]+\]|.", pattern)
    return re.compile("".join(map(_part, parts)) + r"(?:/|\Z)")


def _part(part: str) -> str:
    match part[0], part[1:-1]:
        case "*", _:
            return "[^/]*"
        case "?", _:
            return "[^/]"
        case "[", letters if letters:
            negated = letters.startswith("!")
            return f"[^/{re.escape(letters[1:])}]" if negated else f"[{re.escape(letters)}]"
        case _:
            return re.escape(part)
