"""One object of four gigabytes, and how little memory the gateway needs for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsless.dicom.part10 import split_part10
from pacsless.send import send_paths
from tests.crash.processes import CrashGateway
from tests.crash.report import Report
from tests.eventually import eventually
from tests.instances import encode, make_dataset

FRAME_BYTES: Final = 512 * 512 * 2
FRAMES: Final = 8191
"""Of 512 KiB: the most that fit into a length of 32 bits."""
LIMIT_BYTES: Final = 512 << 20
_BLOCK: Final = 8 << 20


class NoCgroups(RuntimeError):
    """Memory cannot be limited here."""


def require_cgroups() -> None:
    """Look whether memory can be limited.

    Raises
    ------
    NoCgroups
        And why not.
    """
    with memory_limit(f"pacsless-try-{os.getpid()}", LIMIT_BYTES):
        pass


@contextmanager
def memory_limit(name: str, limit: int) -> Iterator[Path]:
    """Run what is started inside in a cgroup of its own; gives the cgroup's folder.

    Raises
    ------
    NoCgroups
        If there is no memory controller that can be used.
    """
    root = Path("/sys/fs/cgroup")
    first = root / "memory"
    home, file = (first, "memory.limit_in_bytes") if first.is_dir() else (root, "memory.max")
    group = home / name
    try:
        group.mkdir()
        (group / file).write_text(str(limit))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        raise NoCgroups(f"no memory cgroup can be made: {error.strerror}") from None
    try:
        yield group
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        # The kernel counts processes that have ended a little longer.
        eventually(lambda: _is_gone(group))


def _is_gone(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


class LargeObject:
    """Sends a multi-frame object to a gateway that must do with little memory.

    Parameters
    ----------
    folder
        For everything that is written: twice the object, less what is sparse.
    kafka
        Bootstrap server.
    """

    def __init__(self, folder: Path, kafka: str) -> None:
        self.report = Report("large")
        self._folder = folder
        self._gateway = CrashGateway(folder, kafka)

    def run(self, frames: int = FRAMES, limit: int = LIMIT_BYTES) -> Report:
        """Send it; the violations say what was not kept."""
        path = self._folder / "large.dcm"
        _write(path, frames)
        with self.report.timed(), memory_limit(f"pacsless-large-{os.getpid()}", limit) as group:
            self._gateway.start()
            # The harness itself must not count.
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))
            try:
                self._send(path, limit)
            finally:
                self._gateway.close()
        return self.report

    def _send(self, path: Path, limit: int) -> None:
        report, gateway = self.report, self._gateway
        report.progress(f"sending {path.stat().st_size >> 20} MiB")
        (result,) = send_paths([path], gateway.options(timeout=600.0)).files
        peak = gateway.peak_memory()
        report.figures |= {
            "instances": 1,
            "object_mib": path.stat().st_size >> 20,
            "resident_mib": peak >> 20,
            "limit_mib": limit >> 20,
            "status": result.status,
        }
        if result.status != 0:
            report.violations.add("not stored", f"{result.status} {result.detail}")
            return
        if peak > limit:
            report.violations.add("memory", f"{peak >> 20} MiB were resident")
        (kept,) = gateway.archive.glob("default/*/*/*.dcm")
        with open(path, "rb") as sent, open(kept, "rb") as stored:
            if _digest(sent) != _digest(stored):
                report.violations.add("torn", "the data set is not what was sent")


def _write(path: Path, frames: int) -> None:
    """Write a file whose pixels are a hole, so that it takes no room."""
    ds = make_dataset(bytes(8), SOPClassUID=CTImageStorage)
    ds.NumberOfFrames, ds.Rows, ds.Columns = str(frames), 512, 512
    head = encode(ds, ExplicitVRLittleEndian)
    start = head.rindex(b"\xe0\x7f\x10\x00OW\x00\x00") + 8
    size = frames * FRAME_BYTES
    with open(path, "wb") as file:
        file.write(head[:start] + size.to_bytes(4, "little") + b"\1\2\3\4")
        file.truncate(start + 4 + size)


def _digest(file: BinaryIO) -> bytes:
    """Digest of a file's data set."""
    file.seek(split_part10(file).dataset_offset)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.digest()
