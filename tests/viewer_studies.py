"""Studies of the kinds a viewer shows, made of what pydicom bundles."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, EnhancedMRImageStorage, generate_uid

from tests.instances import encode, make_dataset

MR = "examples_overlay.dcm"
CINE = "examples_ybr_color.dcm"  # of thirty frames, JPEG Baseline
COLOUR = "examples_rgb_color.dcm"
SPACING = 5.0


def bundled(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


def new_patient(prefix: str) -> str:
    """A family name, and Patient ID, that nobody has; of letters, as names are."""
    figures = str.maketrans("0123456789", "ghijklmnop")
    return prefix + uuid4().hex[:8].translate(figures)


def renamed(name: str, patient: str) -> Dataset:
    """A bundled file with UIDs of its own, as some have the same ones and other tests send them."""
    ds = pydicom.dcmread(bundled(name))
    ds.PatientName, ds.PatientID = f"{patient}^{ds.Modality}", patient
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return ds


def moved(pixels: np.ndarray[Any, Any], index: int) -> np.ndarray[Any, Any]:
    """The picture with its rows rolled: no two are alike."""
    return np.roll(pixels, 8 * index, axis=0)


def make_series(name: str, patient: str, slices: int) -> list[Dataset]:
    """A series of parallel slices."""
    first = renamed(name, patient)
    first.FrameOfReferenceUID = generate_uid()
    made: list[Dataset] = []
    for index in range(slices):
        ds = pydicom.dcmread(bundled(name))
        for keyword in (
            "PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID",
            "FrameOfReferenceUID",
        ):  # fmt: skip
            ds[keyword] = first[keyword]
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.InstanceNumber = index + 1
        ds.ImagePositionPatient = [-158.1, -179.0, -75.7 + SPACING * index]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.SliceLocation = -75.7 + SPACING * index
        ds.PixelData = moved(ds.pixel_array, index).tobytes()
        made.append(ds)
    return made


def with_meta(ds: Dataset) -> Dataset:
    """The data set as it is read from its file."""
    return pydicom.dcmread(BytesIO(encode(ds)))


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def make_enhanced_mr(patient: str, frames: int) -> Dataset:
    """One Enhanced MR whose frames are the slices of a series."""
    source = pydicom.dcmread(bundled(MR))
    pixels = np.stack([moved(source.pixel_array, index) for index in range(frames)])
    low, high = int(pixels.min()), int(pixels.max())
    ds = make_dataset(
        pixels.astype("<u2").tobytes(), SOPClassUID=EnhancedMRImageStorage, Modality="MR",
        PatientName=f"{patient}^MR", PatientID=patient, SeriesDescription="Enhanced",
        Rows=source.Rows, Columns=source.Columns, NumberOfFrames=frames,
        FrameOfReferenceUID=generate_uid(),
        ImageType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
    )  # fmt: skip
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=SPACING)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            FrameVOILUTSequence=[item(WindowCenter=(low + high) / 2, WindowWidth=high - low)],
            PixelValueTransformationSequence=[
                item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
            ],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(StackID="1", InStackPositionNumber=n + 1, DimensionIndexValues=[1, n + 1])
            ],
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, SPACING * n])],
        )
        for n in range(frames)
    ]
    return with_meta(ds)


def make_pdf(text: str, padding: int) -> bytes:
    """One page (PDF 1.4) whose upper third is coloured, with `text` below; longer by `padding`."""
    content = f"0 0.5 0.6 rg 0 562 595 280 re f 0 g BT /F1 48 Tf 72 450 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    made, offsets = b"%PDF-1.4\n%" + b" " * padding + b"\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + trailer


def make_document(patient: str, document: bytes) -> Dataset:
    """An Encapsulated PDF."""
    ds = make_dataset(
        SOPClassUID=EncapsulatedPDFStorage, Modality="DOC", ConversionType="WSD",
        PatientName=f"{patient}^Report", PatientID=patient, SeriesDescription="Report",
        BurnedInAnnotation="YES", DocumentTitle="Report", ConceptNameCodeSequence=[],
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=document + b"\0" * (len(document) % 2),
        EncapsulatedDocumentLength=len(document),
        Rows=None, Columns=None, BitsAllocated=None, BitsStored=None, HighBit=None,
        PixelRepresentation=None, SamplesPerPixel=None, PhotometricInterpretation=None,
    )  # fmt: skip
    return with_meta(ds)
