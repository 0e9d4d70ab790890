"""The four levels of Orthanc's resources, and what it shows of each; pure."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Self

from pydicom.datadict import tag_for_keyword

from pacsless.errors import BadRequest, NotFound


class Level(Enum):
    """A kind of resources."""

    PATIENT = "Patient", "patients"
    STUDY = "Study", "studies"
    SERIES = "Series", "series"
    INSTANCE = "Instance", "instances"

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        """Its Type, as the answers have it."""
        self.plural = plural
        """The path segment its resources lie under."""

    @property
    def depth(self) -> int:
        """How many levels are above it."""
        return list(Level).index(self)

    @property
    def table(self) -> str:
        """Table of the index."""
        return self.kind.lower()

    @property
    def below(self) -> Level | None:
        """The next level, if there is one."""
        return None if self is Level.INSTANCE else list(Level)[self.depth + 1]

    @property
    def above(self) -> Level | None:
        """The level before, if there is one."""
        return None if self is Level.PATIENT else list(Level)[self.depth - 1]

    @classmethod
    def of_path(cls, segment: str) -> Self:
        """Return the level that lies under a path segment.

        Raises
        ------
        NotFound
            If none does.
        """
        for level in cls:
            if segment == level.plural:
                return level
        raise NotFound("no-such-resource", "there is no such resource")

    @classmethod
    def of_name(cls, name: object) -> Self:
        """Return the level of a name, as clients write it.

        Raises
        ------
        BadRequest
            If it names none.
        """
        for level in cls:
            if isinstance(name, str) and name.lower() in (level.kind.lower(), level.plural):
                return level
        raise BadRequest("level", "Level is Patient, Study, Series or Instance")


def _tags(*keywords: str) -> dict[str, str]:
    found = {f"{tag_for_keyword(one) or 0:08X}": one for one in keywords}
    return dict(sorted(found.items()))


MAIN_DICOM_TAGS: Final = {
    Level.PATIENT: _tags("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    Level.STUDY: _tags(
        "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
        "TimezoneOffsetFromUTC", "StudyDescription", "StudyInstanceUID", "StudyID",
        "RequestingPhysician", "RequestedProcedureDescription", "InstitutionName",
    ),
    Level.SERIES: _tags(
        "SeriesDate", "SeriesTime", "Modality", "Manufacturer", "TimezoneOffsetFromUTC",
        "StationName", "SeriesDescription", "OperatorsName", "BodyPartExamined", "ProtocolName",
        "SeriesInstanceUID", "SeriesNumber", "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime", "PerformedProcedureStepDescription",
    ),
    Level.INSTANCE: _tags(
        "InstanceCreationDate", "InstanceCreationTime", "SOPInstanceUID", "AcquisitionNumber",
        "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
        "TemporalPositionIdentifier", "ImageComments", "NumberOfFrames", "ImageIndex",
    ),
}  # fmt: skip
"""Keywords by tag: what the index holds of Orthanc's, and of instances all of them."""


def signature(level: Level) -> str:
    """List the tags of a level as ``/system`` does."""
    return ";".join(dashed(tag, ",") for tag in MAIN_DICOM_TAGS[level])


def dashed(tag: str, divider: str) -> str:
    """Write a tag of eight digits in two groups, as Orthanc does.

    Examples
    --------
    >>> dashed("0020000D", ","), dashed("0020000D", "-")
    ('0020,000d', '0020-000d')
    """
    return f"{tag[:4]}{divider}{tag[4:]}".lower()


def main_dicom_tags(level: Level, attributes: dict[str, Any]) -> dict[str, str]:
    """Return the main tags of a level that DICOM JSON states, by tag."""
    return {tag: text_of(attributes[tag]) for tag in MAIN_DICOM_TAGS[level] if tag in attributes}


def text_of(element: dict[str, Any]) -> str:
    r"""Return the values of an element of DICOM JSON as one text.

    Examples
    --------
    >>> text_of({"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}]})
    'A^B==C'
    >>> text_of({"vr": "DS", "Value": [1.5, 2]})
    '1.5\\2'
    """
    return "\\".join(map(_value, element.get("Value", ())))


def _value(value: object) -> str:
    if isinstance(value, dict):
        groups = (value.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)
