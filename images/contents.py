"""The trees that layers are made of."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from images import debian, sources, wheels
from images.debian import Package
from images.layers import Component, Contents
from images.tree import Tree

_NUMBER: Final = 10001
_PASSWD: Final = f"""\
root:x:0:0:root:/root:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
pacsless:x:{_NUMBER}:{_NUMBER}:Pacsless:/tmp:/usr/sbin/nologin
"""
_GROUP: Final = f"root:x:0:\nnogroup:x:65534:\npacsless:x:{_NUMBER}:\n"
_APPLETS: Final = (
    "cat", "chmod", "cp", "cut", "date", "df", "du", "env", "find", "grep", "head", "hostname",
    "id", "kill", "ln", "ls", "mkdir", "mv", "ps", "readlink", "rm", "rmdir", "sed", "sleep",
    "sort", "tail", "touch", "true", "uname", "wc",
)  # fmt: skip


def of_debian(packages: Sequence[Package], without: Sequence[str], *, lowest: bool) -> Contents:
    """Debian packages; in the lowest layer, also what every image has.

    Parameters
    ----------
    packages
        Fetched already.
    without
        Patterns of what to leave out.
    lowest
        Whether it is that layer.
    """
    tree = Tree()
    for one in packages:
        debian.unpack(one, tree, without)
    if lowest:
        _foundation(tree)
    if "usr/bin/toybox" in tree.entries:
        for applet in _APPLETS:
            tree.link(f"usr/bin/{applet}", "toybox")
    if "usr/bin/dash" in tree.entries:
        tree.link("usr/bin/sh", "dash")
    wheels.compile_modules(tree)
    return tree, [
        Component(
            f"pkg:deb/debian/{one.name}@{quote(one.version, safe=':~')}"
            f"?arch={one.architecture}&distro=debian-12",
            one.name,
            one.version,
            sha256=one.sha256,
        )
        for one in packages
    ]


def of_wheels(lines: Mapping[str, str], without: Sequence[str]) -> Contents:
    """Python distributions, and their modules compiled."""
    tree = Tree()
    found = wheels.install(lines.values(), tree)
    for pattern in without:
        tree.remove(pattern)
    wheels.compile_modules(tree)
    return tree, [
        Component(
            f"pkg:pypi/{one.name.lower().replace('_', '-')}@{one.version}",
            one.name,
            one.version,
            one.licence,
        )
        for one in found
    ]


def of_sources(
    files: Mapping[str, str], folders: Sequence[str], time: int, *, compiled: bool = True
) -> Contents:
    """Files of the repository, and folders the user may write into."""
    tree = Tree()
    for source, place in files.items():
        sources.put(tree, source, place, time)
    for folder in folders:
        tree.folder(folder, owner=_NUMBER)
    if compiled:
        wheels.compile_modules(tree)
    return tree, []


def of_jars(folder: Path) -> Contents:
    """Kafka's jars."""
    tree, found = Tree(), []
    for jar in sorted(folder.glob("*.jar")):
        content = jar.read_bytes()
        tree.file(f"opt/kafka/lib/{jar.name}", content)
        found.append(_jar(jar.stem, content))
    return tree, found


def _foundation(tree: Tree) -> None:
    for name in ("bin", "lib", "lib64", "sbin"):
        tree.folder(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    for name in ("dev", "proc", "run", "sys"):
        tree.folder(name)
    for name in ("tmp", "var/tmp"):
        tree.folder(name, 0o1777)
    tree.file("etc/passwd", _PASSWD.encode())
    tree.file("etc/group", _GROUP.encode())
    tree.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    debian.trust(tree)


def _jar(stem: str, content: bytes) -> Component:
    """What a jar is, by what Maven wrote into it; by its name if that is not there."""
    digest = hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(io.BytesIO(content)) as jar:
        texts = [
            jar.read(one).decode() for one in jar.namelist() if one.endswith("/pom.properties")
        ]
    for text in texts:
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        # Some jars hold others.
        if stem == f"{fields.get('artifactId')}-{fields.get('version')}":
            purl = f"pkg:maven/{fields['groupId']}/{fields['artifactId']}@{fields['version']}"
            return Component(purl, fields["artifactId"], fields["version"], sha256=digest)
    name, _, version = stem.rpartition("-")
    return Component(f"pkg:generic/{name}@{version}", name, version, sha256=digest)
