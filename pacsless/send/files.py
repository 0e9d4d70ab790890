"""Which files are DICOM, and what has to be known to send them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import Identifiers, ScanError, scan

_MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file to send; identifiers are as found, so they may be empty or no UIDs at all."""

    path: Path
    data_set_offset: int
    data_set_bytes: int
    transfer_syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not sent."""

    path: Path
    reason: str


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """Name files, and all files below folders, in order of their names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def look(path: Path) -> DicomFile | Skipped:
    """Say how to send a file, or why not to.

    A data set that cannot be scanned is sent all the same if the File Meta
    Information names its SOP class: what to think of it is the receiver's
    business. The data set's own UIDs go before those of the File Meta
    Information, as the command set must repeat them (PS3.4 §B.2.3).
    """
    try:
        with open(path, "rb") as file:
            part10 = split_part10(file)
            try:
                found = scan(file, part10.transfer_syntax)
            except ScanError:
                found = Identifiers("", "", "", "", "")
            size = file.seek(0, os.SEEK_END)
    except ScanError as error:
        return Skipped(path, error.message)
    except OSError as error:
        return Skipped(path, error.strerror or type(error).__name__)
    sop_class_uid = found.sop_class_uid or part10.sop_class_uid
    if not sop_class_uid:
        return Skipped(path, "neither the data set nor the File Meta Information has a SOP class")
    if _MEDIA_STORAGE_DIRECTORY in (part10.sop_class_uid, sop_class_uid):
        return Skipped(path, "a DICOMDIR is no instance")
    return DicomFile(
        path,
        part10.dataset_offset,
        size - part10.dataset_offset,
        part10.transfer_syntax,
        sop_class_uid,
        found.sop_instance_uid or part10.sop_instance_uid,
        found.study_instance_uid,
        found.series_instance_uid,
    )
