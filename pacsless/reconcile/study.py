"""A study in its four forms, and where they disagree: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from pacsless.dicom import document

Instance = tuple[str, str]
"""Series and SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class File:
    """An original."""

    size: int
    settled: bool
    """Whether it has been there long enough for the functions to know it."""
    received_at: str = ""
    """Of one whose instance was deleted at some time."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """An instance in the ledger."""

    size: int
    sha256: str
    revision: int
    created_date: str
    file_time: str = ""
    """When the file it is about was received; empty if it was not noted."""


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series in the index."""

    revision: int
    documented: int
    """Revision the builder of its document had heard of; 0 if there is none."""
    settled: bool
    """Whether it has not changed for a while."""


@dataclass(frozen=True, slots=True)
class WarehouseRow:
    """A row of the warehouse."""

    revision: int
    is_deleted: bool
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is known of a study, everywhere."""

    files: Mapping[Instance, File]
    tombstones: Mapping[Instance, bool] = field(default_factory=dict)
    """Instances that were deleted at some time, and whether so long ago that all know it."""
    strays: frozenset[str] = frozenset()
    """Keys of files that cannot be originals."""
    rows: Mapping[Instance, LedgerRow]
    series: Mapping[str, SeriesRow]
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Stored documents that are whole, by series; ``""`` is the study's."""
    images: Mapping[tuple[str, str, str], WarehouseRow]
    """By date of first ingest, series and SOP Instance UID: the key of ``dicom_image_meta``."""
    states: Mapping[str, WarehouseRow]
    """Of ``dicom_state_meta``, by series; ``""`` is the study's."""

    def is_of_deleted(self, instance: Instance) -> bool:
        """Whether a row is about a file that was deleted; another has been stored since."""
        file, row = self.files.get(instance), self.rows.get(instance)
        if file is None or row is None or instance not in self.tombstones:
            return False
        return file.received_at != row.file_time


class Kind(StrEnum):
    """What can be wrong."""

    FILE_WITHOUT_ROW = "file-without-row"
    FILE_UNREADABLE = "file-unreadable"
    STRAY_FILE = "stray-file"
    ROW_WITHOUT_FILE = "row-without-file"
    OTHER_SIZE = "other-size"
    OTHER_DIGEST = "other-digest"
    DOCUMENT_DIFFERS = "document-differs"
    DOCUMENT_LAGS = "document-lags"
    WAREHOUSE_LACKS = "warehouse-lacks"
    WAREHOUSE_DIFFERS = "warehouse-differs"
    WAREHOUSE_AHEAD = "warehouse-ahead"
    WAREHOUSE_SURPLUS = "warehouse-surplus"
    ROW_OF_DELETED = "row-of-deleted"
    WAREHOUSE_OF_DELETED = "warehouse-of-deleted"

    @property
    def is_alarm(self) -> bool:
        """Whether only a person can mend it: files are the truth, and none is ever changed."""
        return self in _ALARMS


_ALARMS = frozenset({
    Kind.FILE_UNREADABLE, Kind.STRAY_FILE, Kind.ROW_WITHOUT_FILE, Kind.OTHER_SIZE,
    Kind.OTHER_DIGEST, Kind.WAREHOUSE_SURPLUS,
})  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Drift:
    """One disagreement."""

    kind: Kind
    series: str = ""
    """Empty if it is about the study."""
    sop: str = ""
    """Empty if it is about a series or the study."""
    key: str = ""
    """Of a stray file."""

    @property
    def instance(self) -> Instance:
        """What it is about, if it is about an instance."""
        return self.series, self.sop


def compare(study: Study) -> list[Drift]:
    """Find where the four forms of a study disagree."""
    return sorted(chain(_ledger(study), _documents(study), _images(study), _states(study)))


def _ledger(study: Study) -> Iterator[Drift]:
    for key in study.strays:
        yield Drift(Kind.STRAY_FILE, key=key)
    for instance, file in study.files.items():
        row = study.rows.get(instance)
        if row is None or study.is_of_deleted(instance):
            if file.settled:
                yield Drift(Kind.FILE_WITHOUT_ROW, *instance)
        elif row.size != file.size:
            yield Drift(Kind.OTHER_SIZE, *instance)
    for instance in study.rows.keys() - study.files.keys():
        match study.tombstones.get(instance):
            case None:
                yield Drift(Kind.ROW_WITHOUT_FILE, *instance)
            case True:
                yield Drift(Kind.ROW_OF_DELETED, *instance)


def _documents(study: Study) -> Iterator[Drift]:
    files: dict[str, set[str]] = {}
    arriving = set()
    for (series, sop), file in study.files.items():
        files.setdefault(series, set()).add(sop)
        if not file.settled:
            arriving.add(series)
    arriving |= {series for (series, _), settled in study.tombstones.items() if not settled}
    for series, row in study.series.items():
        if not row.settled or series in arriving:
            continue
        stored = study.documents.get(series)
        if stored is None or not _lists(stored, files.get(series, set())):
            yield Drift(Kind.DOCUMENT_DIFFERS, series)
        elif row.documented < row.revision:
            yield Drift(Kind.DOCUMENT_LAGS, series)
    if study.series and not arriving and all(row.settled for row in study.series.values()):
        joined = document.join([
            one for series, one in sorted(study.documents.items()) if series in files
        ])  # fmt: skip
        if study.documents.get("") != joined:
            yield Drift(Kind.DOCUMENT_DIFFERS)


def _lists(stored: bytes, files: set[str]) -> bool:
    """Whether a document has an entry, or an empty line, for every file, and none for others."""
    try:
        entries = {document.Entry.of_line(one).sop_instance_uid for one in document.lines(stored)}
    except ValueError:
        return False
    return entries <= files and document.count(stored) == len(files)


def _images(study: Study) -> Iterator[Drift]:
    expected = {
        (row.created_date, instance[0], instance[1]): row
        for instance, row in study.rows.items()
        if _settled(study, instance[0])
    }
    for key, row in expected.items():
        found, instance = study.images.get(key), key[1:]
        if found is None or found.revision < row.revision:
            yield Drift(Kind.WAREHOUSE_LACKS, *instance)
        elif found.revision > row.revision:
            yield Drift(Kind.WAREHOUSE_AHEAD, *instance)
        elif found.sha256 != row.sha256 or found.is_deleted:
            yield Drift(Kind.WAREHOUSE_DIFFERS, *instance)
    known = {(row.created_date, *instance) for instance, row in study.rows.items()}
    for image, there in study.images.items():
        if not there.is_deleted and image not in known:
            match study.tombstones.get(image[1:]):
                case None:
                    yield Drift(Kind.WAREHOUSE_SURPLUS, *image[1:])
                case True:
                    yield Drift(Kind.WAREHOUSE_OF_DELETED, *image[1:])


def _states(study: Study) -> Iterator[Drift]:
    expected = {
        series: row.revision for series, row in study.series.items() if _settled(study, series)
    }
    if expected and len(expected) == len(study.series):
        expected[""] = max(expected.values())
    for series, revision in expected.items():
        found = study.states.get(series)
        if found is None or found.revision < revision:
            yield Drift(Kind.WAREHOUSE_LACKS, series)
        elif found.revision > revision:
            yield Drift(Kind.WAREHOUSE_AHEAD, series)
        elif found.is_deleted:
            yield Drift(Kind.WAREHOUSE_DIFFERS, series)
    for series, found in study.states.items():
        if not found.is_deleted and series not in study.series and (series or not study.series):
            there = any(series in (one, "") for one, _ in study.files)
            deleted = [
                settled for (one, _), settled in study.tombstones.items() if series in (one, "")
            ]
            if there or not deleted:
                yield Drift(Kind.WAREHOUSE_SURPLUS, series)
            elif all(deleted):
                yield Drift(Kind.WAREHOUSE_OF_DELETED, series)


def _settled(study: Study, series: str) -> bool:
    row = study.series.get(series)
    return row is not None and row.settled
