"""The receivers that Pacsless is compared with; each is left out if it is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynetdicom
import urllib3

from bench.gateway import REPOSITORY
from bench.receivers import NODELAY, Profile, Receiver, free_ports, listens

STORESCP = "/usr/bin/storescp"
_LARGE_PDU = 131072
"""The largest that DCMTK sends."""
_HTTP = urllib3.PoolManager(retries=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that is not on this machine."""

    title: str
    how_to_get: str


def peers(
    folder: Path,
    orthanc: list[str] | None,
    orthanc_root: Path | None,
    dicom_storescp: str,
    large_pdus: bool,
) -> tuple[list[Receiver], list[Absent]]:
    """The peers that are on this machine, and those that are not.

    Parameters
    ----------
    folder
        For what they write.
    orthanc
        Orthanc's command.
    orthanc_root
        A folder with a Debian in which Orthanc is installed; it is run there by chroot.
    dicom_storescp
        Program of dicom-rs.
    large_pdus
        Whether peers are to receive PDUs of 128 KiB, as Pacsless does, instead of
        their default of 16 KiB.
    """
    pdu = _LARGE_PDU if large_pdus else None
    found: list[Receiver] = [Pynetdicom(folder / "pynetdicom")]
    absent: list[Absent] = []
    if shutil.which(STORESCP):
        found.append(Storescp(folder / "storescp", pdu))
    else:
        absent.append(Absent("storescp", "`apt-get install dcmtk`"))
    newest = find_orthanc(folder, orthanc, orthanc_root, pdu)
    if isinstance(newest, Absent):
        absent.append(newest)
    else:
        found.append(newest)
    if program := shutil.which(dicom_storescp):
        found.append(DicomStorescp(folder / "dicom-storescp", program, pdu))
    else:
        absent.append(Absent("dicom-storescp", "`cargo install dicom-storescp`"))
    return found, absent


def find_orthanc(
    folder: Path, command: list[str] | None, root: Path | None, pdu: int | None = None
) -> Orthanc | Absent:
    """Orthanc in a folder with a Debian, or by its command, if there is one."""
    if root:
        inside = root / "var" / "tmp" / f"pacsless-{folder.name}"
        return Orthanc(inside, ["/usr/sbin/Orthanc"], root, pdu)
    if command:
        return Orthanc(folder / "orthanc", command, None, pdu)
    return Absent("Orthanc", "Debian 13's package, see `bench/README.md`")


def _says(*command: str) -> str:
    """The first version number a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "?"


class Pynetdicom(Receiver):
    """`bench.pynetdicom_scp`."""

    def __init__(self, folder: Path) -> None:
        profile = Profile(
            "pynetdicom", "pynetdicom", pynetdicom.__version__,
            "`bench/pynetdicom_scp.py`, maximum PDU 128 KiB", "yes: file and folder fsynced",
        )  # fmt: skip
        super().__init__(profile, folder)

    def command(self) -> list[str]:
        script = REPOSITORY / "bench" / "pynetdicom_scp.py"
        return [sys.executable, str(script), str(self.port), str(self.output)]


class Storescp(Receiver):
    """DCMTK's."""

    def __init__(self, folder: Path, pdu: int | None) -> None:
        self._options = ["--fork", "--bit-preserving"] + (["--max-pdu", str(pdu)] if pdu else [])
        profile = Profile(
            "storescp", "storescp", f"DCMTK {_says(STORESCP, '--version')}",
            f"`storescp {' '.join(self._options)}`, TCP_NODELAY", "no",
        )  # fmt: skip
        super().__init__(profile, folder)

    def command(self) -> list[str]:
        return [
            STORESCP, *self._options, "-od", str(self.output), str(self.port)
        ]  # fmt: skip


class DicomStorescp(Receiver):
    """That of dicom-rs."""

    def __init__(self, folder: Path, program: str, pdu: int | None) -> None:
        self._options = ["--non-blocking"] + (["--max-pdu-length", str(pdu)] if pdu else [])
        profile = Profile(
            "dicom-storescp", "dicom-storescp", f"dicom-rs {_says(program, '--version')}",
            f"`dicom-storescp {' '.join(self._options)}`", "no",
        )  # fmt: skip
        super().__init__(profile, folder)
        self._program = program

    def command(self) -> list[str]:
        return [
            self._program, *self._options, "-o", str(self.output), "-p", str(self.port)
        ]  # fmt: skip


class Orthanc(Receiver):
    """Orthanc without plugins: it also indexes what it stores, in SQLite.

    Parameters
    ----------
    folder
        For its storage; inside `root` if there is one.
    program
        Command without the configuration file.
    root
        A folder to chroot to.
    pdu
        Largest PDU it receives.
    """

    def __init__(
        self, folder: Path, program: list[str], root: Path | None, pdu: int | None
    ) -> None:
        self._pdu = {"MaximumPduLength": pdu} if pdu else {}
        self._command = ["chroot", str(root), *program] if root else program
        profile = Profile(
            "orthanc", "Orthanc", _says(*self._command, "--version"),
            "no plugins, TCP_NODELAY, uncompressed, 16 DICOM threads"
            + (", maximum PDU 128 KiB" if pdu else ""),
            "file fsynced; index in SQLite",
        )  # fmt: skip
        super().__init__(profile, folder)
        self._inside = Path("/") / folder.relative_to(root) if root else folder
        (self.http_port,) = free_ports(1)
        self._known = (0, 0)
        self.more: dict[str, object] = {}
        """Settings beside those it has here."""

    def start(self) -> None:
        self._known = (0, 0)
        self.output.mkdir(exist_ok=True)
        (self.folder / "orthanc.json").write_text(json.dumps(self._configuration()))
        self.process.start(
            self.command(),
            lambda: listens(self.port) and self._get("/statistics") is not None,
            {**os.environ, **NODELAY},
        )

    def command(self) -> list[str]:
        return [*self._command, str(self._inside / "orthanc.json")]

    def _configuration(self) -> dict[str, object]:
        stored = str(self._inside / "stored")
        return {
            "Name": "bench",
            "StorageDirectory": stored,
            "IndexDirectory": stored,
            "StorageCompression": False,
            "StoreDicom": True,
            "SyncStorageArea": True,
            "OverwriteInstances": False,
            "Plugins": [],
            "ConcurrentJobs": os.cpu_count() or 2,
            "DicomAet": "PACSLESS",
            "DicomPort": self.port,
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": False,
            "DicomThreadsCount": 16,
            "DefaultEncoding": "Utf8",
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            **self._pdu,
            **self.more,
        }

    def stored(self, least: int) -> int:
        count, size = self._statistics()
        known_count, known_size = self._known
        if size - known_size < least * (count - known_count):
            return -1
        return count - known_count

    def clear(self) -> None:
        # Nothing is deleted: it would pay for that in the next measurement.
        self._known = self._statistics()

    def _statistics(self) -> tuple[int, int]:
        found = self._get("/statistics") or {}
        return int(found.get("CountInstances", 0)), int(found.get("TotalDiskSize", 0))

    def _get(self, path: str) -> Any:
        try:
            answer = _HTTP.request("GET", f"http://127.0.0.1:{self.http_port}{path}", timeout=30)
        except urllib3.exceptions.HTTPError:
            return None
        return json.loads(answer.data) if answer.status == 200 else None
