"""Files of a patient, study or series as one ZIP, made while it is sent."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from io import RawIOBase
from typing import TYPE_CHECKING, Any, Final

from functions.orthanc.levels import text_of
from pacsless.errors import NotFound

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.identity import InstanceIdentity

_CHUNK: Final = 1 << 18
_LONGEST: Final = 64
_ODD: Final = re.compile(r"[^A-Za-z0-9 _-]+")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class _Sink(RawIOBase):
    """Takes what is written, until it is sent."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since, and forget it."""
        held, self._held = self._held, []
        return b"".join(held)


def zipped(archive: Archive, files: Iterable[tuple[InstanceIdentity, Any, Any]]) -> Iterator[bytes]:
    """Yield a ZIP of instances; of each file only a piece is in memory.

    They are stored as they are: pixels that can be compressed mostly are, and
    sending is not to wait for a compressor.

    Parameters
    ----------
    archive
        Where they are.
    files
        Instances, series by series, with the attributes of study and series.
    """
    sink, names = _Sink(), Names()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as made:
        for identity, of_study, of_series in files:
            try:
                file = archive.open(identity.key)
            except NotFound:
                continue  # deleted since it was listed
            entry = zipfile.ZipInfo(names.next(identity, of_study, of_series), _EPOCH)
            entry.external_attr = 0o644 << 16
            # Its length may be beyond 4 GiB, and the header is written before it is known.
            with file, made.open(entry, "w", force_zip64=True) as member:
                while piece := file.read(_CHUNK):
                    member.write(piece)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class Names:
    """Names of files in a ZIP: patient, study and series are its folders."""

    def __init__(self) -> None:
        self._folders: dict[str, int] = {}
        self._series: tuple[str, str] | None = None
        self._folder = self._prefix = ""
        self._number = 0

    def next(self, identity: InstanceIdentity, study: Any, series: Any) -> str:
        """Return the name of an instance's file; instances come series by series."""
        key = (identity.study_instance_uid, identity.series_instance_uid)
        if key != self._series:
            self._series, self._number = key, 0
            modality = _said(series, "00080060")
            self._prefix = (modality[:2] or "IM").upper()
            folder = "/".join(
                (
                    _joined(_said(study, "00100020"), _said(study, "00100010"), "Patient"),
                    _joined(_said(study, "00080050"), _said(study, "00081030"), "Study"),
                    _joined(modality, _said(series, "0008103E"), "Series"),
                )
            )
            taken = self._folders[folder] = self._folders.get(folder, 0) + 1
            self._folder = folder if taken == 1 else f"{folder} ({taken})"
        self._number += 1
        return f"{self._folder}/{self._prefix}{self._number:06}.dcm"


def _said(attributes: Mapping[str, Any], tag: str) -> str:
    """Return a value as part of a file's name: letters that no system minds, and no dots."""
    text = text_of(attributes.get(tag, {})).replace("^", " ")
    return " ".join(_ODD.sub("", text).split())[:_LONGEST].strip()


def _joined(first: str, second: str, nothing: str) -> str:
    return " ".join(part for part in (first, second) if part) or nothing
