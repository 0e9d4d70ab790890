"""Runs an image as a strict cluster would: its own user, a read-only root, no capability.

With runc, Debian's, and no daemon. Containers share the suite's network, in which
nothing else is (`make image-test` makes one).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.layout import OUTPUT

_MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]


@dataclass(frozen=True)
class Container:
    """A running image."""

    identifier: str
    log: Path
    process: subprocess.Popen[bytes]

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run(
            ["runc", "exec", self.identifier, *command], capture_output=True, text=True, check=False
        )

    def stop(self, signal: str) -> int:
        """End it as a cluster would; its status."""
        subprocess.run(["runc", "kill", self.identifier, signal], check=True, capture_output=True)
        return self.process.wait(30)


def configuration(name: str) -> dict[str, Any]:
    """How an image says it is started."""
    with tarfile.open(OUTPUT / f"{name}.tar") as archive:
        manifest = json.loads(_member(archive, "manifest.json"))[0]
        return dict(json.loads(_member(archive, manifest["Config"]))["config"])


def unpack(name: str, folder: Path) -> Path:
    """Unpack an image's layers."""
    with tarfile.open(OUTPUT / f"{name}.tar") as archive:
        manifest = json.loads(_member(archive, "manifest.json"))[0]
        for layer in manifest["Layers"]:
            subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "--numeric-owner", "-p", "-C", folder],
                input=_member(archive, layer),
                check=True,
            )
    return folder


@contextlib.contextmanager
def started(
    name: str,
    root: Path,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    mounts: Mapping[str, Path] | None = None,
) -> Iterator[Container]:
    """Run an image until the block ends.

    Parameters
    ----------
    name
        The image.
    root
        Where `unpack` put it.
    folder
        For its log and runc's file.
    environment
        Beside its own.
    command
        In place of its entry point.
    mounts
        Folders of this machine it may write into, by where they are in it.
    """
    config = configuration(name)
    user, _, group = config["User"].partition(":")
    bundle = folder / secrets.token_hex(4)
    bundle.mkdir()
    variables = [*config["Env"], *(f"{key}={value}" for key, value in (environment or {}).items())]
    specification = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(user), "gid": int(group)},
            "args": list(command or config["Entrypoint"]),
            "env": variables,
            "cwd": config["WorkingDir"],
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": _mounts(mounts or {}),
        "linux": {
            "namespaces": [{"type": one} for one in ("pid", "mount", "ipc", "uts")],
            "maskedPaths": _MASKED,
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }
    (bundle / "config.json").write_text(json.dumps(specification))
    identifier, log = f"pacsless-test-{bundle.name}", bundle / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["runc", "run", "--bundle", bundle, identifier],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Container(identifier, log, process)
    finally:
        subprocess.run(["runc", "delete", "--force", identifier], check=False, capture_output=True)
        process.wait(30)


def owned(folder: Path) -> Path:
    """A folder the images' user may write into."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, 10001, 10001)
    return folder


def missing() -> str:
    """Why the suite cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "only root may make containers with runc"
    if shutil.which("runc") is None:
        return "there is no runc: apt-get install runc"
    return ""


def _mounts(shared: Mapping[str, Path]) -> list[dict[str, Any]]:
    nothing = ["nosuid", "nodev", "noexec"]
    found: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": [*nothing, "mode=1777", "size=65536k"],
        },
        {
            "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*nothing, "ro"]},
    ]  # fmt: skip
    for place, folder in shared.items():
        found.append({
            "destination": place, "type": "bind", "source": str(folder),
            "options": ["rbind", "nosuid", "nodev"],
        })  # fmt: skip
    return found


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file, name
    return file.read()
