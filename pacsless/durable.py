"""Folders and small files that are there after a power cut, whole."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make names that were added to a folder, or taken from it, durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and the parents it lacks, each durable in its own parent."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    # Also of one that is there: whoever made it may have ended before this. No
    # further up, as nobody makes a folder in one that is not durable yet.
    sync_folder(folder.parent)


def write(path: Path, content: bytes) -> int:
    """Write a new file, durably; return its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def put(folder: Path, name: str, content: bytes) -> None:
    """Write a file or replace it, atomically and durably."""
    temporary = folder / f".{uuid.uuid4().hex}"
    os.close(write(temporary, content))
    try:
        os.replace(temporary, folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)
