"""Frames of every transfer syntax, whole, damaged and made to deceive."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from pacsless.dicom.frames import locate_frames
from pacsless.dicom.header import read_header
from pacsless.errors import Unprocessable
from pacsless.rendering.codestream import read_codestream
from pacsless.rendering.decoding import decode
from pacsless.rendering.image import ImagePixel, image_pixel
from pacsless.rendering.parameters import Window
from tests.dicom_files import BUNDLED, samples
from tests.rendering import pixels, shown


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("rtdose_rle.dcm", "rtdose.dcm"),
        ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
    ],
)
def test_a_lossless_form_shows_the_same(compressed: str, plain: str) -> None:
    assert np.array_equal(
        shown(BUNDLED[compressed].read_bytes()), shown(BUNDLED[plain].read_bytes())
    )


SYNTHETIC = {path.name: path for path in samples("transfer-syntaxes/synthetic")}


@pytest.mark.skipif(not SYNTHETIC, reason="no sample files beside the repository")
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("ile.dcm", 0), ("ebe.dcm", 0), ("deflated.dcm", 0), ("j2k_lossless.dcm", 0),
        ("jpegls_lossless.dcm", 0), ("jpeg_lossless_sv1.dcm", 0), ("htj2k_lossless_201.dcm", 0),
        ("htj2k_lossless_rpcl_202.dcm", 0), ("encapsulated_uncompressed_1.2.1.98.dcm", 0),
        ("deflated_image_frame_1.2.8.1.dcm", 0), ("rle_3frames.dcm", 0), ("jpegls_near.dcm", 1),
    ],
)  # fmt: skip
def test_every_transfer_syntax_shows_the_same(name: str, tolerance: int) -> None:
    window = Window(1000, 2000)
    plain = shown(SYNTHETIC["ele.dcm"].read_bytes(), window=window)
    made = shown(SYNTHETIC[name].read_bytes(), window=window)
    assert np.abs(made.astype(int) - plain.astype(int)).max() <= tolerance


def test_a_codestream_larger_than_its_header_is_not_decoded() -> None:
    file = io.BytesIO(BUNDLED["JPEG2000.dcm"].read_bytes())
    frames = locate_frames(file)
    [(at, length)] = frames.ranges(1)
    data = file.getvalue()[at : at + length]
    found = read_codestream(data)
    assert (found.rows, found.columns, found.samples) == (1024, 256, 1)
    with pytest.raises(Unprocessable) as error:
        decode(data, pixels(10, 10), frames.transfer_syntax)
    assert error.value.code == "bad-codestream"


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        ("1.2.840.10008.1.2.5", struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 1000),
        ("1.2.840.10008.1.2.4.90", b"\xff\x4f\xff\x51" + b"\0" * 100),
        ("1.2.840.10008.1.2.4.50", b"\xff\xd8\xff\xc0\0\x0b\x08\0\x04\0\x04\x01" + b"\0" * 9),
        ("1.2.840.10008.1.2.4.80", b""),
        ("1.2.840.10008.1.2.8.1", b"\xff\xff\xff"),
        ("1.2.840.10008.1.2.1", b"\0"),
    ],
)
def test_damaged_frames_are_said_to_be(syntax: str, data: bytes) -> None:
    with pytest.raises(Unprocessable):
        decode(data, pixels(4, 4), syntax)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm"])
def test_no_damage_to_a_codestream_gets_past_decoding(name: str) -> None:
    file = io.BytesIO(BUNDLED[name].read_bytes())
    frames, image = locate_frames(file), image_pixel(read_header(file))
    [(at, length)] = frames.ranges(1)
    data = file.getvalue()[at : at + length]
    for cut in range(0, length, max(1, length // 40)):
        for damaged in (data[:cut], data[:cut] + b"\xff" + data[cut + 1 :]):
            try:
                made, _ = decode(damaged, image, frames.transfer_syntax)
                assert made.shape[:2] == (image.rows, image.columns)
            except Unprocessable:
                continue


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, kind) + content


def test_a_codestream_is_judged_by_what_is_decoded() -> None:
    """A JP2 file may hold a small codestream to be looked at, and a large one."""
    small = imagecodecs.jpeg2k_encode(np.zeros((4, 4), np.uint8), codecformat="j2k")
    large = imagecodecs.jpeg2k_encode(np.zeros((600, 600), np.uint8), codecformat="j2k")
    jp2 = imagecodecs.jpeg2k_encode(np.zeros((4, 4), np.uint8), codecformat="jp2")
    beginning = jp2[: jp2.index(b"jp2h") - 4]
    decoy = beginning + box(b"free", small) + box(b"jp2c", large)
    with pytest.raises(Unprocessable):
        decode(decoy, pixels(4, 4), "1.2.840.10008.1.2.4.90")
    made, _ = decode(jp2, pixels(4, 4), "1.2.840.10008.1.2.4.90")
    assert made.shape == (4, 4)
    for damaged in (beginning, beginning + b"\0" * 16, beginning + box(b"free", b"")[:6]):
        with pytest.raises(Unprocessable):
            decode(damaged, pixels(4, 4), "1.2.840.10008.1.2.4.90")


def test_no_jpeg_has_so_many_scans() -> None:
    data = imagecodecs.jpeg8_encode(np.zeros((8, 8), np.uint8))
    at = data.index(b"\xff\xda")
    image = replace(pixels(8, 8), bits_allocated=8, bits_stored=8, high_bit=7)
    decode(data, image, "1.2.840.10008.1.2.4.50")
    with pytest.raises(Unprocessable):
        decode(data[:-2] + data[at:-2] * 200 + data[-2:], image, "1.2.840.10008.1.2.4.50")


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_samples_of_a_lossless_jpeg_are_what_the_header_says(photometric: str) -> None:
    samples = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    data = imagecodecs.jpeg8_encode(
        samples, lossless=True, colorspace="RGB", outcolorspace="RGB", predictor=1
    )
    image = ImagePixel(8, 8, 3, photometric, 8, 8, 7, False, False, False)
    made, told = decode(data, image, "1.2.840.10008.1.2.4.70")
    assert told == photometric
    assert np.array_equal(made, samples)
