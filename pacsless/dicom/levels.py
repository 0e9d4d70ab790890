"""Which attributes describe a patient, a study and a series.

They are the matching and return attributes of QIDO-RS (PS3.18 Tables 10.6.1-5,
10.6.3-3 and 10.6.3-4), the optional keys of PS3.4 §C.6.1.1 and §C.6.2.1, and
the equipment a series was made on. What stands here is what the index keeps of
a data set; everything else stays in the metadata documents and the warehouse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a level."""

    keyword: str
    tag: str
    """Eight hexadecimal digits, upper case, as in DICOM JSON."""
    vr: str


def _level(*keywords: str) -> dict[str, Attribute]:
    found = []
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(f"{keyword} is no keyword of PS3.6")
        found.append(Attribute(keyword, f"{tag:08X}", dictionary_VR(tag)))
    return {one.tag: one for one in sorted(found, key=lambda one: one.tag)}


PATIENT: Final = _level(
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "PatientComments",
)
"""Patient attributes by tag."""

STUDY: Final = _level(
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PregnancyStatus",
    "Occupation",
    "AdditionalPatientHistory",
    "StudyInstanceUID",
    "StudyID",
    "RequestingPhysician",
    "RequestedProcedureDescription",
)
"""Study attributes by tag."""

SERIES: Final = _level(
    "TimezoneOffsetFromUTC",
    "SeriesDate",
    "SeriesTime",
    "Modality",
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "SeriesDescription",
    "SeriesDescriptionCodeSequence",
    "InstitutionalDepartmentName",
    "PerformingPhysicianName",
    "OperatorsName",
    "ManufacturerModelName",
    "ReferencedPerformedProcedureStepSequence",
    "BodyPartExamined",
    "ProtocolName",
    "PatientPosition",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Laterality",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepID",
    "PerformedProcedureStepDescription",
    "RequestAttributesSequence",
)
"""Series attributes by tag."""

LEVELS: Final = {"patient": PATIENT, "study": STUDY, "series": SERIES}
