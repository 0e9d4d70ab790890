"""Writes an image as an archive that docker, podman, ctr and kind load."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from images.recipes import Recipe

# What OCI calls an architecture, by what the kernel calls it.
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return this machine's architecture in OCI's words, and Debian's."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def write(
    archive: Path,
    name: str,
    recipe: Recipe,
    layers: Sequence[Path],
    *,
    labels: dict[str, str],
    created: int,
) -> None:
    """Write an archive in docker's format; it appears whole or not at all.

    Parameters
    ----------
    archive
        File to write.
    name
        As pods name it, with a tag.
    recipe
        How it is started.
    layers
        Uncompressed, the lowest first; each file is named by its SHA-256.
    labels
        Annotations.
    created
        When, in seconds of Unix.
    """
    config: dict[str, Any] = {
        "User": recipe.user,
        "Entrypoint": list(recipe.entry_point),
        "Env": [f"{key}={value}" for key, value in recipe.environment.items()],
        "WorkingDir": recipe.folder,
        "ExposedPorts": {f"{port}/tcp": {} for port in recipe.ports},
        "Labels": labels,
    }
    if recipe.stop_signal:
        config["StopSignal"] = recipe.stop_signal
    when = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    content = to_json(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": when,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one.stem}" for one in layers]},
            "history": [{"created": when, "created_by": "make images"} for _ in layers],
        }
    )
    configuration = f"{hashlib.sha256(content).hexdigest()}.json"
    manifest = {
        "Config": configuration,
        "RepoTags": [name],
        "Layers": [f"{one.stem}/layer.tar" for one in layers],
    }
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as whole:
        _add(whole, configuration, content)
        for one in layers:
            member = tarfile.TarInfo(f"{one.stem}/layer.tar")
            member.size = one.stat().st_size
            with open(one, "rb") as file:
                whole.addfile(member, file)
        _add(whole, "manifest.json", to_json([manifest]))
    part.rename(archive)


def to_json(content: object) -> bytes:
    """JSON of always the same bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
