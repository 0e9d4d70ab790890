"""What QIDO-RS can match, and with which column: the only source of column names in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_VM,
    dictionary_VR,
    keyword_for_tag,
    tag_for_keyword,
)

from pacsless.dicom.levels import PATIENT, SERIES, STUDY


class Level(Enum):
    """A resource that is searched for (PS3.18 Table 10.6.1-1)."""

    STUDIES = "studies"
    SERIES = "series"
    INSTANCES = "instances"

    @property
    def depth(self) -> int:
        """How many levels are above it."""
        return [*Level].index(self)


class Kind(Enum):
    """How a value is compared (PS3.4 §C.2.2.2)."""

    UID = "single value or list of UIDs"
    TEXT = "single value or wild card"
    CODE = "single value, wild card, or several of which one matches"
    NAME = "wild card over the component groups, regardless of case and accents; fuzzy"
    DATE = "single value or range"
    TIME = "single value or range over time of day"
    NUMBER = "single value"
    STORED = "single value or wild card over the stored DICOM JSON"
    STORED_DATE = "single value or range over the stored DICOM JSON"
    MODALITIES = "modalities of the study's series"
    PATIENT_ID = "any Patient ID the study's instances state"
    ITEM = "one item of the sequence, by what its VR allows"
    SEQUENCE = "whether there is an item"


@dataclass(frozen=True, slots=True)
class Key:
    """A matching key."""

    tag: str
    """Eight hexadecimal digits; of the item's attribute for a sequence key."""
    keyword: str
    level: Level
    kind: Kind
    column: str = ""
    """SQL expression, of this module only."""
    sequences: tuple[str, ...] = ()
    """Tags of the sequences it is in, from the outermost."""

    @property
    def vr(self) -> str:
        """Its Value Representation (PS3.6)."""
        return dictionary_VR(int(self.tag, 16))

    @property
    def multiple(self) -> bool:
        """Whether it may have several values that Multiple Value Matching tells apart."""
        return self.vr in _SEVERAL and dictionary_VM(int(self.tag, 16)) != "1"


_S, _E, _I = Level.STUDIES, Level.SERIES, Level.INSTANCES

_COLUMNS: Final = (
    ("StudyInstanceUID", _S, Kind.UID, "study.study_instance_uid"),
    ("StudyDate", _S, Kind.DATE, "study.study_date"),
    ("StudyTime", _S, Kind.TIME, "study.study_time"),
    ("AccessionNumber", _S, Kind.TEXT, "study.accession_number"),
    ("ModalitiesInStudy", _S, Kind.MODALITIES, "study.modalities"),
    ("ReferringPhysicianName", _S, Kind.NAME, "study.referring_physician_name"),
    ("PatientName", _S, Kind.NAME, "study.patient_name"),
    ("PatientID", _S, Kind.PATIENT_ID, "study.patient_id"),
    ("PatientBirthDate", _S, Kind.DATE, "study.patient_birth_date"),
    ("PatientSex", _S, Kind.CODE, "study.patient_sex"),
    ("StudyID", _S, Kind.TEXT, "study.study_id"),
    ("StudyDescription", _S, Kind.TEXT, "study.study_description"),
    ("Modality", _E, Kind.CODE, "series.modality"),
    ("SeriesInstanceUID", _E, Kind.UID, "series.series_instance_uid"),
    ("SeriesNumber", _E, Kind.NUMBER, "series.series_number"),
    ("SeriesDescription", _E, Kind.TEXT, "series.series_description"),
    ("BodyPartExamined", _E, Kind.CODE, "series.body_part_examined"),
    ("PerformedProcedureStepStartDate", _E, Kind.DATE,
     "series.performed_procedure_step_start_date"),
    ("PerformedProcedureStepStartTime", _E, Kind.TIME,
     "series.performed_procedure_step_start_time"),
    ("SOPClassUID", _I, Kind.UID, "instance.sop_class_uid"),
    ("SOPInstanceUID", _I, Kind.UID, "instance.sop_instance_uid"),
    ("InstanceNumber", _I, Kind.NUMBER, "instance.instance_number"),
)  # fmt: skip

REQUEST_ATTRIBUTES: Final = "00400275"
"""Request Attributes Sequence."""
_REQUEST_ITEMS: Final = ("ScheduledProcedureStepID", "RequestedProcedureID")

_STORED_TEXT: Final = frozenset({"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UT"})
_SEVERAL: Final = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})
"""VRs of Multiple Value Matching (PS3.4 §C.2.2.2.8)."""
_KINDS: Final = {
    **dict.fromkeys(_STORED_TEXT, Kind.STORED),
    "DA": Kind.STORED_DATE,
    "SQ": Kind.SEQUENCE,
}
_DEEPEST: Final = 4
"""Sequences within each other that are matched; the deepest of PS3.6 that is of use has two."""
TIMEZONE: Final = "00080201"
"""Timezone Offset From UTC: says how dates and times of the query are meant."""


def _keys() -> dict[str, Key]:
    found = {
        tag: Key(tag, keyword, level, kind, column)
        for keyword, level, kind, column in _COLUMNS
        if (tag := _tag(keyword))
    }
    for stored, level, column in (
        (PATIENT | STUDY, _S, "study.attributes"),
        (SERIES, _E, "series.attributes"),
    ):
        for tag, one in stored.items():
            if tag not in found and tag != TIMEZONE and one.vr in _KINDS:
                found[tag] = Key(tag, one.keyword, level, _KINDS[one.vr], column)
    for keyword in _REQUEST_ITEMS:
        tag = _tag(keyword)
        # As the sequence's item, and bare, as clients of before PS3.18's 2019
        # redocumentation write it.
        key = Key(tag, keyword, _E, Kind.ITEM, "series.attributes", (REQUEST_ATTRIBUTES,))
        found[tag] = found[f"{REQUEST_ATTRIBUTES}.{tag}"] = key
    return found


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    return f"{tag:08X}" if tag is not None else ""


KEYS: Final = _keys()
"""Every matching key, by tag, or by path for an item of a sequence; `key_of` knows more."""


def key_of(path: str) -> Key | None:
    """Find the matching key of a path, in any stored sequence too; None if there is none."""
    if path in KEYS:
        return KEYS[path]
    *sequences, tag = path.split(".")
    outer = KEYS.get(sequences[0]) if sequences else None
    if outer is None or outer.kind is not Kind.SEQUENCE or len(sequences) > _DEEPEST:
        return None
    vrs = [_vr(one) for one in (*sequences, tag)]
    if any(vr != "SQ" for vr in vrs[:-1]) or _KINDS.get(vrs[-1], Kind.SEQUENCE) is Kind.SEQUENCE:
        return None
    return Key(tag, keyword_of(tag), outer.level, Kind.ITEM, outer.column, tuple(sequences))


def _vr(tag: str) -> str:
    return dictionary_VR(int(tag, 16)) if dictionary_has_tag(int(tag, 16)) else ""


_DIGITS: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_WORD: Final = re.compile(r"[A-Z][A-Za-z0-9]{1,63}", re.ASCII)


def attribute_path(name: str) -> str | None:
    """Read ``00100010``, ``PatientName`` or a path of either (PS3.18 §8.3.4.1).

    Returns
    -------
    str or None
        Tags joined by dots, or None if it names no attribute.

    Examples
    --------
    >>> attribute_path("RequestAttributesSequence.00400009"), attribute_path("orderby")
    ('00400275.00400009', None)
    """
    tags = []
    for part in name.split("."):
        if _DIGITS.fullmatch(part):
            tags.append(part.upper())
        elif _WORD.fullmatch(part) and (tag := _tag(part)):
            tags.append(tag)
        else:
            return None
    return ".".join(tags)


def keyword_of(tag: str) -> str:
    """Keyword of a tag for messages; the tag itself if PS3.6 has none."""
    return keyword_for_tag(int(tag[:8], 16)) or tag


def _vrs(*keywords: str) -> dict[str, str]:
    return {tag: dictionary_VR(int(tag, 16)) for one in keywords if (tag := _tag(one))}


REQUIRED: Final = {
    # PS3.18 Table 10.6.3-3
    Level.STUDIES: _vrs(
        "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName",
        "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
    ),
    # PS3.18 Table 10.6.3-4
    Level.SERIES: _vrs("Modality", "SeriesInstanceUID", "SeriesNumber"),
    # PS3.18 Table 10.6.3-5
    Level.INSTANCES: _vrs("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}  # fmt: skip
"""Attributes every answer has, empty if the instance states none, with their VR."""

IF_KNOWN: Final = {
    # Beyond the table: viewers show the description in every study list.
    Level.STUDIES: _vrs("TimezoneOffsetFromUTC", "StudyDescription"),
    Level.SERIES: _vrs(
        "TimezoneOffsetFromUTC", "SeriesDescription", "BodyPartExamined",
        "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.INSTANCES: _vrs(
        "TimezoneOffsetFromUTC", "AvailableTransferSyntaxUID", "Rows", "Columns",
        "BitsAllocated", "NumberOfFrames",
    ),
}  # fmt: skip
"""Attributes an answer has if the instance states them."""

STORED: Final = {
    Level.STUDIES: frozenset(PATIENT | STUDY),
    Level.SERIES: frozenset(SERIES),
}
"""Tags the index holds of each level."""
