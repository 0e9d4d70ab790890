"""Python distributions as locked with digests, and compiled modules, in a tree."""

from __future__ import annotations

import email.parser
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.layout import ImageError
from images.tree import Tree

PLACE: Final = "usr/local/lib/python3.11/dist-packages"
"""Where Debian's Python looks for what is not Debian's."""

_BLOCK: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: \\\n\s+--hash=\S+)+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Python distribution in an image."""

    name: str
    version: str
    licence: str


def locked(text: str) -> dict[str, str]:
    """Distributions of a requirements file: name to its lines, with version and digests."""
    return {found[1]: found[0] for found in _BLOCK.finditer(text)}


def common(files: Iterable[Path]) -> dict[str, str]:
    """What all of several requirements files have in the same version."""
    all_of_them = [locked(file.read_text()) for file in files]
    first = all_of_them[0]
    return {
        name: lines
        for name, lines in first.items()
        if all(other.get(name) == lines for other in all_of_them)
    }


def install(lines: Iterable[str], tree: Tree) -> list[Distribution]:
    """Put distributions into a tree.

    Parameters
    ----------
    lines
        As `locked` has them.
    tree
        Where to.

    Raises
    ------
    ImageError
        If pip cannot get one, it is not the one that was locked, or has no wheel.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder, requirements = Path(temporary) / "target", Path(temporary) / "requirements.txt"
        requirements.write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [python(), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps",
             "--disable-pip-version-check", "--no-compile", "--require-hashes",
             "--only-binary", ":all:", "--target", str(folder), "-r", str(requirements)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ImageError("wheels", f"pip failed: {done.stderr.strip()[-1500:]}")
        found = []
        for metadata in sorted(folder.glob("*.dist-info/METADATA")):
            found.append(_described(metadata))
            # Who installed it, and when a person asked for it, differs with the machine.
            for name in ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD"):
                (metadata.parent / name).unlink(missing_ok=True)
        fresh = Tree()
        fresh.folder_of(folder, PLACE)
    # Commands of distributions: nothing calls them, and they name this machine's Python.
    fresh.remove(f"{PLACE}/bin")
    fresh.remove(f"{PLACE}/share")
    tree.entries |= fresh.entries
    return found


def compile_modules(tree: Tree) -> None:
    """Add the compiled form of each module: a read-only image cannot keep it at the first start.

    It is believed unchecked, so that the times of files do not matter.
    """
    sources = [(path, content) for path, content in tree.files() if path.endswith(".py")]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for path, content in sources:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        # What does not compile has no compiled form, and tells so when it is imported.
        subprocess.run(
            [python(), "-m", "compileall", "-qq", "-s", temporary, "-p", "/",
             "--invalidation-mode", "unchecked-hash", temporary],
            check=False, capture_output=True,
            # The order of sets is in what is compiled.
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        compiled = sorted(root.rglob("*.pyc"))
        if sources and not compiled:
            raise ImageError("python", "compileall compiled nothing: is there room in /tmp?")
        for file in compiled:
            tree.file(file.relative_to(root).as_posix(), file.read_bytes())


def python() -> str:
    """A Python of the version that is in the images.

    Raises
    ------
    ImageError
        If the one that runs this is another.
    """
    if sys.version_info[:2] != (3, 11):
        raise ImageError("python", "images are made with Python 3.11, theirs: make setup finds it")
    return sys.executable


def _described(metadata: Path) -> Distribution:
    fields = email.parser.HeaderParser().parsestr(metadata.read_text(errors="replace"))
    licence = fields.get("License-Expression") or fields.get("License") or ""
    classifiers = [
        one.rpartition(" :: ")[2]
        for one in fields.get_all("Classifier", [])
        if one.startswith("License :: ")
    ]
    # Some put the whole text there.
    short = licence if 0 < len(licence) < 80 and "\n" not in licence else ", ".join(classifiers)
    return Distribution(str(fields["Name"]), str(fields["Version"]), short)
