"""Container images of a folder, without a daemon, a base image or a registry.

The archive is one that ``docker load``, ``podman load``, ``ctr images import``
and ``kind load image-archive`` read (docker-archive), and the same folder makes
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.cluster import layout

# What OCI calls an architecture, by what the kernel calls it.
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(
    archive: Path, name: str, root: Path, command: Sequence[str], user: str = ""
) -> None:
    """Write an image of one layer.

    Parameters
    ----------
    archive
        File to write; it appears whole or not at all.
    name
        As pods name it, with a tag.
    root
        Its file system. Everything belongs to root.
    command
        What it runs.
    user
        Number of the user it runs as, ``"65532:65532"``; root if empty.
    """
    layer = _layer(root)
    layer_digest = hashlib.sha256(layer).hexdigest()
    machine = os.uname().machine
    configuration = _json(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {
                "User": user,
                "Entrypoint": list(command),
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created_by": "pacsless"}],
        }
    )
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = _json([{"Config": configuration_name, "RepoTags": [name], "Layers": [layer_name]}])
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as whole:
        for file, content in (
            (configuration_name, configuration),
            (layer_name, layer),
            ("manifest.json", manifest),
        ):
            member = tarfile.TarInfo(file)
            member.size = len(content)
            whole.addfile(member, io.BytesIO(content))
    part.rename(archive)


def write_program(archive: Path, name: str, program: Path) -> None:
    """Write an image of one program that needs no library, run by nobody in particular."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy(program, root / program.name)
        write_image(archive, name, root, [f"/{program.name}"], "65532:65532")


def build() -> None:
    """Make the bed's own images: what holds a pod's namespaces, and what tests run."""
    busybox = shutil.which("busybox")
    assert busybox, "make cluster-up installs busybox-static"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bin").mkdir()
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy(busybox, root / "bin" / "busybox")
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
        for applet in set(applets.stdout.split()) - {"busybox"}:
            (root / "bin" / applet).symlink_to("busybox")
        sleeper = ["/bin/sleep", "infinity"]
        write_image(layout.IMAGES / "pause.tar", layout.PAUSE, root, sleeper)
        write_image(layout.IMAGES / "busybox.tar", layout.BUSYBOX, root, sleeper, "65532:65532")


def _layer(root: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for path in (root, *sorted(root.rglob("*"))):
            layer.add(path, path.relative_to(root).as_posix(), recursive=False, filter=_anonymous)
    return content.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
