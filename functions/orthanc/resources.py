"""Resources as Orthanc's JSON has them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from functions.orthanc.levels import MAIN_DICOM_TAGS, Level, dashed, main_dicom_tags
from pacsless.orthanc_ids import orthanc_id

STABLE_SECONDS: Final = 60
"""Without anything new, after which a resource is stable: Orthanc's StableAge."""
_CHILDREN: Final = {Level.PATIENT: "Studies", Level.STUDY: "Series", Level.SERIES: "Instances"}
_KEYWORDS: Final = {
    tag: keyword for tags in MAIN_DICOM_TAGS.values() for tag, keyword in tags.items()
}


class Format(Enum):
    """How tags are written."""

    HUMAN = "human"
    """By keyword."""
    SHORT = "short"
    """By number."""
    FULL = "full"
    """By number, with name and type."""

    @staticmethod
    def of(names: Mapping[str, object]) -> Format:
        """Return the one that is asked for by ``short``, ``full`` or ``simplify``."""
        if names.get("short"):
            return Format.SHORT
        return Format.FULL if names.get("full") else Format.HUMAN

    def write(self, tags: Mapping[str, str]) -> dict[str, Any]:
        """Write tags."""
        match self:
            case Format.HUMAN:
                named = {_KEYWORDS[tag]: value for tag, value in tags.items()}
                return dict(sorted(named.items()))
            case Format.SHORT:
                return {dashed(tag, ","): value for tag, value in tags.items()}
            case Format.FULL:
                return {
                    dashed(tag, ","): {"Name": _KEYWORDS[tag], "Type": "String", "Value": value}
                    for tag, value in tags.items()
                }


def orthanc_time(moment: datetime) -> str:
    """Write a moment.

    Examples
    --------
    >>> orthanc_time(datetime(2026, 11, 23, 8, tzinfo=UTC))
    '20261123T080000'
    """
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def describe(
    level: Level,
    row: Sequence[Any],
    form: Format,
    now: datetime,
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a resource by its row.

    Parameters
    ----------
    level
        Its level.
    row
        As `functions.orthanc.sql.Page` selects it.
    form
        How tags are written.
    now
        To tell whether it is stable.
    attributes
        DICOM JSON of an instance.
    """
    keys, told = row[: level.depth + 1], row[level.depth + 1 :]
    said: dict[str, Any] = {"ID": orthanc_id(*keys), "Labels": [], "Type": level.kind}
    if level.above is not None:
        said[f"Parent{level.above.kind}"] = orthanc_id(*keys[:-1])
    if level is Level.INSTANCE:
        said |= _instance(keys[-1], told, form, attributes or {})
        return dict(sorted(said.items()))
    stated, children, updated_at = told
    said |= {
        "MainDicomTags": form.write(main_dicom_tags(level, stated)),
        "IsStable": updated_at is None or (now - updated_at).total_seconds() > STABLE_SECONDS,
        "LastUpdate": orthanc_time(updated_at or now),
        _CHILDREN[level]: sorted(orthanc_id(*keys, one) for one in children),
    }
    if level is Level.STUDY:
        said["PatientMainDicomTags"] = form.write(main_dicom_tags(Level.PATIENT, stated))
    if level is Level.SERIES:
        said |= {"ExpectedNumberOfInstances": None, "Status": "Unknown"}
    return dict(sorted(said.items()))


def _instance(
    sop: str, told: Sequence[Any], form: Format, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    number, size, sha256 = told
    stated = {"00080018": {"vr": "UI", "Value": [sop]}, **attributes}
    return {
        "FileSize": size,
        # Orthanc's is made by chance; this one tells contents apart, too.
        "FileUuid": str(UUID(sha256[:32])),
        "IndexInSeries": number,
        "MainDicomTags": form.write(main_dicom_tags(Level.INSTANCE, stated)),
    }


def sizes(size: int, counts: Mapping[str, int]) -> dict[str, Any]:
    """Write the statistics of a resource."""
    measured = {
        f"{name}{unit}": value
        for name in ("DicomDiskSize", "DicomUncompressedSize", "DiskSize", "UncompressedSize")
        for unit, value in (("", str(size)), ("MB", size >> 20))
    }
    return dict(sorted({**counts, **measured}.items()))
