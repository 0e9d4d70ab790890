"""Files of the repository, and which state of it they are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from images.layout import CONSTANT_TIME, REPOSITORY, ImageError
from images.tree import Tree

_CODE: Final = (".py", ".toml", ".sql")


@dataclass(frozen=True, slots=True)
class State:
    """The state of the repository."""

    revision: str
    """Its commit, with ``-modified`` if files are not as in it, or not in it; empty without Git."""
    time: int
    """Of SOURCE_DATE_EPOCH, or the commit's."""


def state() -> State:
    """Ask the environment and Git."""
    commit, _, seconds = _git("log", "-1", "--format=%H %ct").partition(" ")
    if commit and _git("status", "--porcelain"):
        commit += "-modified"
    text = os.environ.get("SOURCE_DATE_EPOCH") or seconds or str(CONSTANT_TIME)
    if not text.isdigit():
        raise ImageError("time", "SOURCE_DATE_EPOCH must be a number of seconds")
    return State(commit, int(text))


def put(tree: Tree, source: str, place: str, time: int) -> None:
    """Put what a recipe names into a tree.

    Parameters
    ----------
    tree
        Where to.
    source
        A file; a folder; or a pattern, whose matches keep their place below its first folder.
    place
        Path in the image.
    time
        Of the files: of nginx's, caches of browsers depend on it.

    Raises
    ------
    ImageError
        If there is no such file.
    """
    found = sorted(REPOSITORY.glob(source))
    if not found:
        hint = ": make setup builds the viewer" if source.startswith("viewer/") else ""
        raise ImageError("source", f"there is no {source} in the repository{hint}")
    for one in found:
        below = one.relative_to(REPOSITORY / PurePosixPath(source).parts[0])
        name = f"{place}/{below.as_posix()}" if "*" in source else place
        if one.is_dir():
            _folder(tree, one.resolve(), name, time)
        else:
            executable = one.read_bytes().startswith(b"#!")
            tree.file(name, one.read_bytes(), 0o755 if executable else 0o644, time)


def _folder(tree: Tree, folder: Path, place: str, time: int) -> None:
    fresh = Tree()
    fresh.folder_of(folder, place, time)
    if not place.startswith("app/"):
        tree.entries |= fresh.entries
        return
    for path, entry in fresh.entries.items():
        if path.endswith(_CODE):
            tree.entries[path] = entry


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else ""
