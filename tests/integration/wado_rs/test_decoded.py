"""Compressed instances and frames as native pixels, for who decodes nothing."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from pacsless.dicom.transfer_syntaxes import lookup
from pacsless.identity import InstanceIdentity
from tests.dicom_files import bundled
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import Pacs, parts

EXPLICIT = f"transfer-syntax={ExplicitVRLittleEndian}"
INSTANCE = f"application/dicom; {EXPLICIT}"
NATIVE = 'multipart/related; type="application/octet-stream"'
OTHERWISE = {
    "GDCMJ2K_TextGBR.dcm": 200,
    "JPEG2000-embedded-sequence-delimiter.dcm": 406,
    "SC_rgb_jpeg.dcm": 406,
    "UN_sequence.dcm": 200,
}
"""What no other decoder reads, and what becomes of it: in that order, pydicom and DCMTK lack the
decoder, the codestream is damaged, the data set is implicit VR, there are no pixels to decode."""
LOSSY = 3
"""Most that two decoders of what is lossy differ in a sample."""


def compressed() -> list[Path]:
    found = []
    for path in bundled():
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        syntax = str(ds.get("file_meta", {}).get("TransferSyntaxUID", ""))
        if syntax and lookup(syntax).is_decodable:
            found.append(path)
    return found


def decoded_by_others(path: Path, folder: Path) -> Any:
    """Samples as pydicom decodes them, or DCMTK where it cannot; None if neither can."""
    made = folder / "decoded.dcm"
    for command in (None, "dcmdjpls", "dcmdjpeg"):
        try:
            if command is None:
                return pixel_array(path)
            subprocess.run([f"/usr/bin/{command}", path, made], check=True, capture_output=True)
            return pixel_array(made)
        except (RuntimeError, ValueError, AttributeError, subprocess.CalledProcessError):
            continue
    return None


def put(pacs: Pacs, content: bytes) -> InstanceIdentity:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    assert store_bytes(pacs.archive, identity, content, "")
    return identity


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", compressed(), ids=lambda path: path.name)
def test_pixels_are_those_another_decoder_finds(pacs: Pacs, path: Path, tmp_path: Path) -> None:
    identity = put(pacs, path.read_bytes())
    response = pacs.get(identity.subject, INSTANCE)
    stored = pydicom.dcmread(path)
    expected = decoded_by_others(path, tmp_path)
    if expected is None:
        assert response.status_code == OTHERWISE[path.name]
        return
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == INSTANCE
    assert int(response.headers["Content-Length"]) == len(response.data)
    made = pydicom.dcmread(io.BytesIO(response.data))
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    found = pixel_array(made)
    assert found.shape == expected.shape
    difference = np.abs(found.astype(np.int64) - expected.astype(np.int64))
    assert difference.max() <= LOSSY
    changed = {"PhotometricInterpretation", "PlanarConfiguration", "PixelData",
               "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "IconImageSequence",
               "DataSetTrailingPadding"}  # fmt: skip
    kept = [e for e in stored if e.keyword not in changed and e.tag.element]  # no group lengths
    assert [e.tag for e in kept] == [e.tag for e in made if e.keyword not in changed]
    for element in kept:
        assert made[element.tag] == element, element.tag

    count = int(stored.get("NumberOfFrames") or 1)
    frames = parts(
        pacs.get(f"{identity.subject}/frames/{','.join(map(str, range(1, count + 1)))}", NATIVE)
    )
    assert {headers["Content-Type"] for headers, _ in frames} == {
        f"application/octet-stream; {EXPLICIT}"
    }
    joined = b"".join(body for _, body in frames)
    assert joined + bytes(len(joined) % 2) == made.PixelData
    alone = pacs.get(f"{identity.subject}/frames/{count}", "application/octet-stream")
    assert alone.data == frames[-1][1]


def test_who_takes_the_stored_form_gets_it(pacs: Pacs) -> None:
    identity, content = pacs.put("JPEG2000.dcm")
    assert pacs.get(identity.subject, "application/dicom").data == content
    asked = f"application/dicom; {EXPLICIT}; q=0.5, application/dicom; transfer-syntax=*"
    assert pacs.get(identity.subject, asked).data == content
    any_syntax = "application/octet-stream; transfer-syntax=*"
    frame = pacs.get(f"{identity.subject}/frames/1", any_syntax)
    assert frame.headers["Content-Type"].endswith("=1.2.840.10008.1.2.4.91")


def test_a_study_of_several_transfer_syntaxes(pacs: Pacs) -> None:
    contents = []
    for name in ("CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"):
        ds = pydicom.dcmread(next(path for path in bundled() if path.name == name))
        ds.StudyInstanceUID = "1.2.3"
        buffer = io.BytesIO()
        ds.save_as(buffer)
        contents.append(ds)
        pacs.store(buffer.getvalue())
    found = parts(
        pacs.get("studies/1.2.3", f'multipart/related; type="application/dicom"; {EXPLICIT}')
    )
    assert len(found) == 3
    for headers, body in found:
        assert headers["Content-Type"] == INSTANCE
        made = pydicom.dcmread(io.BytesIO(body))
        (stored,) = [one for one in contents if one.SOPInstanceUID == made.SOPInstanceUID]
        assert np.array_equal(pixel_array(made), pixel_array(stored))


def test_an_odd_number_of_bytes_is_padded_and_what_follows_is_kept(pacs: Pacs) -> None:
    ds = make_dataset(Rows=3, Columns=3, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = bytes(range(9)) + b"\0"
    ds["PixelData"].VR = "OB"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(RLELossless)
    ds.add_new(0x7FE10010, "LO", "ACME")
    ds.add_new(0x7FE11001, "LO", "kept")
    ds.add_new(0xFFFCFFFC, "OB", bytes(32))
    identity = pacs.store(encode(ds, RLELossless))
    made = pydicom.dcmread(io.BytesIO(pacs.get(identity.subject, INSTANCE).data))
    assert made.PixelData == bytes(range(9)) + b"\0"
    assert made[0x7FE11001].value == "kept"
    assert 0xFFFCFFFC not in made
    assert pacs.get(f"{identity.subject}/frames/1", "application/octet-stream").data == bytes(
        range(9)
    )


def test_what_cannot_be_decoded_is_refused_before_the_first_byte(pacs: Pacs) -> None:
    ds = make_dataset(Rows=64, Columns=64, BitsAllocated=16)
    ds.PixelData = encapsulate([b"not a codestream" * 4])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, JPEG2000Lossless))
    for path, accept in ((identity.subject, INSTANCE), (f"{identity.subject}/frames/1", NATIVE)):
        response = pacs.get(path, accept)
        assert response.status_code == 406
        assert response.headers["Content-Type"].startswith("text/plain")


def image(*frames: bytes, **values: Any) -> pydicom.Dataset:
    """An instance of 4 × 4 pixels, compressed already."""
    defaults = {"Rows": 4, "Columns": 4, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    ds = make_dataset(**defaults | values)
    ds.PixelData = encapsulate(list(frames))
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def decoded(pacs: Pacs, ds: pydicom.Dataset, syntax: str) -> pydicom.Dataset:
    response = pacs.get(pacs.store(encode(ds, syntax)).subject, INSTANCE)
    assert response.status_code == 200, response.text
    return pydicom.dcmread(io.BytesIO(response.data))


def test_whole_chrominance_is_not_called_subsampled(pacs: Pacs) -> None:
    colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    ds = image(
        imagecodecs.jpegls_encode(colours),
        SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0,
    )  # fmt: skip
    made = decoded(pacs, ds, JPEGLSLossless)
    assert made.PhotometricInterpretation == "YBR_FULL"
    assert pixel_array(made, raw=True).tolist() == colours.tolist()


@pytest.mark.parametrize(("said", "there"), [(5, 3), (2, 3)])
def test_frames_are_as_many_as_there_are(pacs: Pacs, said: int, there: int) -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    frames = [imagecodecs.jpegls_encode(grey + number) for number in range(there)]
    made = decoded(pacs, image(*frames, NumberOfFrames=said), JPEGLSLossless)
    count = min(said, there)
    assert made.NumberOfFrames == count
    assert pixel_array(made).shape == (count, 4, 4)


@pytest.mark.parametrize(
    ("samples", "stored", "syntax"),
    [
        (np.full((4, 4), 0xFFF, np.uint16), 12, JPEGLSLossless),
        (np.full((4, 4), -1, np.int8), 8, JPEG2000Lossless),
        (np.full((4, 4), -1, np.int16), 16, JPEG2000Lossless),
    ],
)
def test_negative_numbers_are_so_in_the_whole_word(
    pacs: Pacs, samples: np.ndarray[Any, Any], stored: int, syntax: str
) -> None:
    if syntax == JPEGLSLossless:
        frame = imagecodecs.jpegls_encode(samples)
    else:
        frame = imagecodecs.jpeg2k_encode(samples, codecformat="j2k", level=0)
    made = decoded(
        pacs,
        image(
            frame, BitsAllocated=16, BitsStored=stored, HighBit=stored - 1, PixelRepresentation=1
        ),
        syntax,
    )
    assert np.frombuffer(made.PixelData, "<i2").tolist() == [-1] * 16


def test_what_has_no_pixels_is_copied(pacs: Pacs) -> None:
    ds = make_dataset()
    identity = pacs.store(encode(ds, JPEGLSLossless))
    made = pydicom.dcmread(io.BytesIO(pacs.get(identity.subject, INSTANCE).data))
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert made == ds
    several = f'multipart/related; type="application/dicom"; {EXPLICIT}'
    for resource in (identity.subject, f"studies/{identity.study_instance_uid}"):
        [(_, body)] = parts(pacs.get(resource, several))
        assert pydicom.dcmread(io.BytesIO(body)) == ds


def test_what_is_not_decoded_is_not_acceptable(pacs: Pacs) -> None:
    grey = imagecodecs.jpegls_encode(np.zeros((4, 4), np.uint8))
    for values in ({"Rows": 9000, "Columns": 9000}, {"PhotometricInterpretation": "CMYK"}):
        identity = pacs.store(encode(image(grey, **values), JPEGLSLossless))
        for accept in (INSTANCE, f'multipart/related; type="application/dicom"; {EXPLICIT}'):
            assert pacs.get(identity.subject, accept).status_code == 406, values
        assert pacs.get(f"{identity.subject}/frames/1", NATIVE).status_code == 406


def test_a_slow_client_holds_no_frame_in_memory(pacs: Pacs) -> None:
    side = 4096
    frame = imagecodecs.jpegls_encode(np.zeros((side, side), np.uint16))
    ds = image(frame, Rows=side, Columns=side, BitsAllocated=16, BitsStored=16, HighBit=15)
    identity = pacs.store(encode(ds, JPEGLSLossless))
    for path, accept in ((identity.subject, INSTANCE), (f"{identity.subject}/frames/1", NATIVE)):
        response = pacs.client.get(f"/{path}", headers={"Accept": accept}, buffered=False)
        sizes = [len(chunk) for chunk in response.iter_encoded()]
        response.close()
        assert sum(sizes) > side * side * 2
        assert max(sizes) <= 1 << 20
