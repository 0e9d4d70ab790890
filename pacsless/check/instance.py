"""A small instance nobody has: pure but for its UIDs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from pacsless.dicom.part10 import split_part10

PATIENT: Final = "PACSLESS-CHECK"
"""Patient ID of every such instance, so that they are found, and taken for no patient."""
_SIDE: Final = 16


@dataclass(frozen=True, slots=True)
class Instance:
    """What is sent."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    data_set: bytes
    """In Explicit VR Little Endian."""
    sop_class_uid: str = str(SecondaryCaptureImageStorage)
    transfer_syntax: str = str(ExplicitVRLittleEndian)

    @property
    def path(self) -> str:
        """Its address below a DICOMweb root."""
        return (
            f"studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
            f"/instances/{self.sop_instance_uid}"
        )


def new_instance(at: datetime) -> Instance:
    """Make a Secondary Capture image of a few grey levels with new UIDs."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    # No prefix: UIDs made of a UUID (PS3.5 §B.2) are nobody else's.
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.StudyDate, dataset.StudyTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    dataset.AccessionNumber = ""
    dataset.Modality = "OT"
    dataset.ConversionType = "SYN"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Check of an archive"
    dataset.PatientName = "Check^Pacsless"
    dataset.PatientID = PATIENT
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.StudyID = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = _SIDE
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(range(_SIDE * _SIDE))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return Instance(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
        data_set_of(file.getvalue()),
    )


def data_set_of(file: bytes) -> bytes:
    """Return the bytes after the File Meta Information.

    Raises
    ------
    ScanError
        If there are none.
    """
    return file[split_part10(BytesIO(file)).dataset_offset :]
