"""Every image unpacked once; what can run it, or the reason why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.layout import OUTPUT
from tests.images import running

Unpacked = Callable[[str], Path]


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    if reason := running.missing():
        pytest.skip(reason)


@pytest.fixture
def unpacked(tmp_path: Path) -> Iterator[Unpacked]:
    """Unpack an image, until the test ends: all of them would take gigabytes."""
    folders: list[Path] = []

    def unpack(name: str) -> Path:
        assert (OUTPUT / f"{name}.tar").exists(), f"there is no image {name}: make images"
        root = tmp_path / "root" / name
        root.mkdir(parents=True)
        folders.append(root)
        return running.unpack(name, root)

    yield unpack
    for folder in folders:
        shutil.rmtree(folder)
