"""Small DICOM instances that tests make and put into an archive."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from pacsless.archive import Archive
from pacsless.events import InstanceStored
from pacsless.identity import InstanceIdentity

RECEIVED_AT = "2026-11-23T08:00:00.000001Z"
RECEIVED_NS = 1_795_420_800_000_001_000


def new_tenant() -> str:
    """A tenant nobody has: what tests share a database by."""
    return f"t{uuid4().hex[:12]}"


def make_dataset(pixels: bytes = b"", **values: Any) -> Dataset:
    """A CT slice with these attributes; None leaves one out."""
    defaults: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "PatientBirthDate": "19700203",
        "PatientSex": "F",
        "StudyDate": "20240229",
        "StudyTime": "143012.5",
        "AccessionNumber": "A-1",
        "StudyID": "S1",
        "StudyDescription": "Chest",
        "ReferringPhysicianName": "Ref^Erring",
        "Modality": "CT",
        "SeriesNumber": 1,
        "SeriesDescription": "Lung",
        "InstanceNumber": 1,
        "Rows": 2,
        "Columns": 2,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    dataset = Dataset()
    for keyword, value in (defaults | values).items():
        if value is not None:
            setattr(dataset, keyword, value)
    if pixels:
        dataset.PixelData = pixels
    return dataset


def encode(dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A data set as a DICOM file."""
    syntax = UID(transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = BytesIO()
    dataset.save_as(
        file,
        enforce_file_format=True,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    return file.getvalue()


def store_bytes(
    archive: Archive, identity: InstanceIdentity, content: bytes, transfer_syntax: str
) -> InstanceStored:
    """Put a file into an archive and return the event a gateway would send."""
    with archive.incoming() as incoming:
        incoming.write(content)
        sealed = incoming.seal(RECEIVED_NS)
    archive.keep(sealed, identity.key)
    return InstanceStored(
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        transfer_syntax=transfer_syntax,
        patient_id="",
        file_name=f"{identity.sop_instance_uid}.dcm",
        file_size=sealed.size,
        file_path=identity.key,
        sha256=sealed.sha256,
        received_at=RECEIVED_AT,
        via="C-STORE",
        calling_ae_title="CT_SCANNER",
        called_ae_title="PACSLESS",
        remote_address="127.0.0.1",
    )


def store(
    archive: Archive,
    tenant: str,
    dataset: Dataset,
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> InstanceStored:
    """Put a data set into an archive and return the event a gateway would send."""
    identity = InstanceIdentity(
        tenant,
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
    )
    return store_bytes(archive, identity, encode(dataset, transfer_syntax), transfer_syntax)


def write_series(
    folder: Path, count: int, transfer_syntax: str = ExplicitVRLittleEndian
) -> tuple[str, list[Path]]:
    """Write a CT series of `count` slices; return its Study Instance UID and the files."""
    study, series = generate_uid(), generate_uid()
    paths = []
    for number in range(1, count + 1):
        slice_ = make_dataset(
            pixels=bytes(8), StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number
        )
        paths.append(folder / f"{number:04}.dcm")
        paths[-1].write_bytes(encode(slice_, transfer_syntax))
    return study, paths


def write_studies(
    folder: Path, studies: int, count: int, transfer_syntax: str = ExplicitVRLittleEndian
) -> list[Path]:
    """Write studies of one CT series of `count` slices each; return the files."""
    paths: list[Path] = []
    for number in range(1, studies + 1):
        one = folder / f"{number:04}"
        one.mkdir(parents=True)
        paths += write_series(one, count, transfer_syntax)[1]
    return paths
