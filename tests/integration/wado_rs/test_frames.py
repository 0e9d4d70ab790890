"""Frames are the bytes another reader finds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from pacsless.identity import InstanceIdentity
from tests import pydicom_reads
from tests.dicom_files import bundled
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import FRAMES, Pacs, parts


@pytest.mark.parametrize(
    "path", [path for path in bundled() if pydicom_reads.frames(path)], ids=lambda path: path.name
)
def test_frames_are_the_bytes_another_reader_finds(pacs: Pacs, path: Path) -> None:
    expected = pydicom_reads.frames(path)
    assert expected
    content = path.read_bytes()
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    stored = store_bytes(pacs.archive, identity, content, "")
    assert stored
    syntax = pydicom.dcmread(path, force=True).file_meta.TransferSyntaxUID
    web = syntax if syntax.is_encapsulated else ExplicitVRLittleEndian
    numbers = ",".join(str(n + 1) for n in range(len(expected)))
    for _ in range(2):  # the second time from the cache
        found = parts(pacs.get(f"{identity.subject}/frames/{numbers}", FRAMES))
        assert [body for _, body in found] == expected
        for number, (headers, _) in enumerate(found, 1):
            # Cornerstone decodes by this header, compared case by case.
            assert headers["Content-Type"] == f"application/octet-stream; transfer-syntax={web}"
            assert headers["Content-Location"].endswith(f"/frames/{number}")
    single = pacs.get(f"{identity.subject}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert single.data == expected[0]


@pytest.mark.parametrize("converted", [False, True], ids=["on the fly", "rendition"])
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_bigendian.dcm",
        "ExplVR_BigEnd.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "rtdose_expb.dcm",
        "liver_expb_1frame.dcm",
        "image_dfl.dcm",
    ],
)
def test_what_the_web_bans_is_served_as_explicit_little_endian(
    pacs: Pacs, name: str, converted: bool
) -> None:
    identity, content = pacs.put(name)
    explicit = pacs.get(
        identity.subject, f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    )
    if converted:
        # Other pixels than the original's: proof that the rendition is what is read.
        data = bytearray(explicit.data)
        data[-1] ^= 0xFF
        with pacs.archive.incoming() as incoming:
            incoming.write(data)
            sealed = incoming.seal()
        pacs.archive.keep(sealed, identity.rendition_key(ExplicitVRLittleEndian))
    else:
        data = bytearray(explicit.data)
    ds = pydicom.dcmread(io.BytesIO(data))
    count = int(ds.get("NumberOfFrames") or 1)
    found = parts(
        pacs.get(f"{identity.subject}/frames/{','.join(str(n + 1) for n in range(count))}", FRAMES)
    )
    assert {headers["Content-Type"] for headers, _ in found} == {
        f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
    }
    pixels = b"".join(body for _, body in found)
    assert pixels == ds.PixelData[: len(pixels)]
    assert len(ds.PixelData) - len(pixels) <= 1
    if not converted and ds.BitsAllocated > 1:
        assert np.array_equal(ds.pixel_array, pydicom.dcmread(io.BytesIO(content)).pixel_array)


def test_one_bit_frames_begin_with_a_byte(pacs: Pacs) -> None:
    frames = [[1, 0, 1, 1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 1, 1, 0, 1, 0], [1] * 9]
    bits = [bit for frame in frames for bit in frame]
    packed = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    ds = make_dataset(
        packed, Rows=3, Columns=3, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3
    )
    identity = pacs.store(encode(ds))
    expected = [np.packbits(np.array(one, np.uint8), bitorder="little").tobytes() for one in frames]
    found = parts(pacs.get(f"{identity.subject}/frames/1,2,3", FRAMES))
    assert [body for _, body in found] == expected
    for number in (1, 2, 3):
        single = pacs.get(f"{identity.subject}/frames/{number}", "application/octet-stream")
        assert single.data == expected[number - 1]


def test_fragments_of_a_frame_are_joined(pacs: Pacs) -> None:
    ds = make_dataset(NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = encapsulate([b"\xff\xd8" + b"a" * 99, b"\xff\xd8" + b"b" * 98], 3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, "1.2.840.10008.1.2.4.50"))
    found = parts(pacs.get(f"{identity.subject}/frames/2,1", FRAMES))
    assert [body.rstrip(b"\0") for _, body in found] == [
        b"\xff\xd8" + b"b" * 98,
        b"\xff\xd8" + b"a" * 99,
    ]
    jpeg = pacs.get(f"{identity.subject}/frames/1", "image/jpeg")
    assert jpeg.headers["Content-Type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    ("frames", "status"),
    [("2", 404), ("1,2", 404), ("0", 400), ("1,", 400), ("a", 400), ("-1", 400), ("1;2", 400),
     ("9999999999", 400), ("٣", 400), ("1%2C1", 200), ("1", 200)],
)  # fmt: skip
def test_frame_numbers(pacs: Pacs, frames: str, status: int) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    response = pacs.get(f"{identity.subject}/frames/{frames}", FRAMES)
    assert response.status_code == status, response.text


def test_a_compressed_frame_is_not_passed_off_as_raw(pacs: Pacs) -> None:
    ds = make_dataset()
    ds.PixelData = encapsulate([b"JPEG XL, which is not decoded here"])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, "1.2.840.10008.1.2.4.110"))
    for accept in (
        "application/octet-stream",
        'multipart/related; type="application/octet-stream"',
    ):
        refused = pacs.get(f"{identity.subject}/frames/1", accept)
        assert refused.status_code == 406
        assert "1.2.840.10008.1.2.4.110" in refused.text


def test_what_has_no_pixels_has_no_frames(pacs: Pacs) -> None:
    identity, _ = pacs.put("rtplan.dcm")
    assert pacs.get(f"{identity.subject}/frames/1", FRAMES).status_code == 404


def test_a_frame_that_is_known_is_not_sent_again(pacs: Pacs) -> None:
    identity, _ = pacs.put("SC_rgb_rle_2frame.dcm")
    accept = "application/octet-stream; transfer-syntax=*"
    native = "application/octet-stream"
    tags = {
        pacs.get(f"{identity.subject}/frames/{number}", kind).headers["ETag"]
        for number in (1, 2)
        for kind in (accept, native)
    }
    assert len(tags) == 4
    for number in (1, 2):
        for kind in (accept, native):
            path = f"{identity.subject}/frames/{number}"
            first = pacs.get(path, kind)
            tag = first.headers["ETag"]
            assert pacs.get(path, kind, If_None_Match=tag).status_code == 304
            assert first.headers["Cache-Control"] == "private, no-cache"
    other = pacs.get(f"{identity.subject}/frames/1", accept, If_None_Match=tag)
    assert other.status_code == 200
