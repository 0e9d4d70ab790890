"""Which shared libraries programs want, so that none is missing in an image."""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterable, Mapping

from images.layout import ImageError
from images.tree import Tree

_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRING_TABLE = 1, 5


def needed(content: bytes) -> list[str]:
    """Names of the libraries a 64-bit little-endian ELF file is linked with; [] of other files."""
    if content[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    segments = [
        struct.unpack_from("<IIQQQQ", content, offset + size * index) for index in range(count)
    ]
    entries = [
        pair
        for kind, _, at, _, _, length in segments
        if kind == _DYNAMIC
        for pair in struct.iter_unpack("<QQ", content[at : at + length])
    ]
    tables = [value for tag, value in entries if tag == _STRING_TABLE]
    if not tables:
        return []
    for kind, _, at, address, _, length in segments:
        if kind == _LOAD and address <= tables[0] < address + length:
            strings = at + tables[0] - address
            break
    else:
        return []
    found = []
    for tag, value in entries:
        if tag == _NEEDED:
            end = content.index(b"\0", strings + value)
            found.append(content[strings + value : end].decode())
    return found


def wanted(tree: Tree) -> dict[str, str]:
    """Libraries that files of a tree want: name to one of who does."""
    found: dict[str, str] = {}
    for path, content in tree.files():
        for library in needed(content):
            found.setdefault(library, path)
    return found


def provided(tree: Tree) -> list[str]:
    """Names under which a tree has libraries."""
    names = {posixpath.basename(path) for path in tree.entries}
    return sorted(name for name in names if ".so" in name)


def check(image: str, want: Mapping[str, str], have: Iterable[str]) -> None:
    """Refuse an image that lacks a library.

    Raises
    ------
    ImageError
        Naming the libraries and who wants them.
    """
    there = set(have)
    missing = [f"{one} (of /{path})" for one, path in sorted(want.items()) if one not in there]
    if missing:
        raise ImageError(
            "library",
            f"{image} lacks {', '.join(missing)}: add the package to its recipe, or leave out "
            "what wants it",
        )
