"""Rendering against pydicom, which computes the same another way, and the standard's formulas."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from functions.rendered.codestream import read_codestream
from functions.rendered.decoding import decode
from functions.rendered.image import ImagePixel, image_pixel
from functions.rendered.luts import _expand
from functions.rendered.parameters import (
    Parameters,
    Viewport,
    Window,
    parse_parameters,
)
from functions.rendered.picture import draw, encode
from functions.rendered.pipeline import show
from functions.rendered.render import open_image, render
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.dicom import explicit_le
from pacsless.dicom.frames import locate_frames
from pacsless.dicom.header import Limits, read_header
from pacsless.dicom.transfer_syntaxes import lookup
from pacsless.errors import BadRequest, NotAcceptable, NotFound, PacslessError, Unprocessable
from pacsless.identity import InstanceIdentity
from pacsless.instances import find_instance
from tests.dicom_files import BUNDLED, element, identifiers, item, part10, samples, sequence
from tests.instances import encode as encode_dataset
from tests.instances import make_dataset, store_bytes

Array = NDArray[Any]


def shown(content: bytes, frame: int = 1, window: Window | None = None) -> Array:
    """Render a frame of a file with the function's own parts."""
    file = io.BytesIO(content)
    syntax = read_header(file).transfer_syntax
    if not lookup(syntax).little_endian or lookup(syntax).deflated:
        converted = io.BytesIO()
        explicit_le.convert(file, converted.write)
        file = converted
    header = read_header(file, limits=Limits(inline_bytes=1 << 18))
    image, table = image_pixel(header), locate_frames(file)
    data = b"".join(file.getvalue()[at : at + length] for at, length in table.ranges(frame))
    offset = 0 if table.is_encapsulated else table.bit_offset(frame)
    decoded, photometric = decode(data, image, table.transfer_syntax, offset)
    return show(decoded, photometric, image, header, frame=frame, window=window)


def expected(dataset: pydicom.Dataset, frame: int = 1) -> Array:
    """What pydicom makes of it, brought to 8 bits."""
    array: Array = dataset.pixel_array
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        array = array[frame - 1]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(array, dataset)
        return coloured >> 8 if coloured.dtype == np.uint16 else coloured
    if dataset.SamplesPerPixel == 3:
        return array >> (dataset.BitsStored - 8)
    values = apply_modality_lut(array, dataset)
    if "VOILUTSequence" in dataset or "WindowCenter" in dataset:
        made = apply_voi_lut(values, dataset)
        low, high = _stored_range(dataset)
    else:
        made = values.astype(float)
        low, high = float(made.min()), float(made.max())
    if dataset.BitsStored == 1:
        low, high = 0, 1
    grey = (made - low) / max(high - low, 1) * 255
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _stored_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """The range that pydicom's windows fill: all that the stored bits could hold."""
    bits = dataset.BitsStored
    if "VOILUTSequence" in dataset:
        return 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (
        0, 2**bits - 1,
    )  # fmt: skip
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def close(made: Array, wanted: Array) -> None:
    """Within one grey value, which is where rounding and truncating differ."""
    assert made.shape == wanted.shape
    assert made.dtype == np.uint8
    assert np.abs(made.astype(float) - wanted.astype(float)).max() <= 1.0


def _readable(path: Path) -> bool:
    try:
        dataset = pydicom.dcmread(path)
        return bool(dataset.pixel_array.size)
    except Exception:  # noqa: BLE001 - whatever pydicom says of a file it cannot decode here
        return False


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    READABLE = [path for path in BUNDLED.values() if _readable(path)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_it_shows_what_pydicom_shows(path: Path) -> None:
    close(shown(path.read_bytes()), expected(pydicom.dcmread(path)))


def test_pydicom_can_read_enough_of_its_files() -> None:
    assert len(READABLE) > 40
    syntaxes = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in READABLE}
    assert len(syntaxes) >= 8


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


def grey(values: list[int], signed: bool = False, **more: Any) -> bytes:
    """A file with one row of 16 bit pixels."""
    pixels = struct.pack(f"<{len(values)}{'h' if signed else 'H'}", *values)
    attributes: dict[str, Any] = {
        "Rows": 1,
        "Columns": len(values),
        "PixelRepresentation": int(signed),
    }
    return encode_dataset(make_dataset(pixels, **attributes | more))


def row(content: bytes, window: Window | None = None) -> list[int]:
    found: list[int] = shown(content, window=window)[0].tolist()
    return found


def test_windows_are_those_of_the_standard() -> None:
    """PS3.3 §C.11.2.1.2.1 and §C.11.2.1.3, at and around their bounds."""
    content = grey([0, 1, 50, 99, 100, 200])
    assert row(content, Window(50, 100)) == [0, 3, 129, 255, 255, 255]
    assert row(content, Window(50, 100, "linear-exact")) == [0, 3, 128, 252, 255, 255]
    assert row(content, Window(50, 100, "sigmoid")) == [30, 31, 128, 224, 225, 254]
    assert row(content, Window(50, 1)) == [0, 0, 255, 255, 255, 255]
    assert row(content, Window(50, 1e-9, "sigmoid")) == [0, 0, 128, 255, 255, 255]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_data_sets_window_and_rescale(function: str, signed: bool) -> None:
    values = [*range(-300, 300, 7)] if signed else [*range(0, 600, 7)]
    content = grey(
        values,
        signed,
        RescaleSlope="1.5",
        RescaleIntercept="-100",
        WindowCenter="120",
        WindowWidth="333",
        VOILUTFunction=function,
    )
    close(shown(content), expected(pydicom.dcmread(io.BytesIO(content))))


def table(entries: list[int], first: int, bits: int) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.add_new(0x00283002, "US", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", struct.pack(f"<{len(entries)}H", *entries))
    item.ModalityLUTType = "US"
    return item


@pytest.mark.filterwarnings("ignore")
def test_lookup_tables_of_both_kinds() -> None:
    modality = table([(i * i) % 1000 for i in range(700)], 50, 16)
    voi = table([65535 - 60 * i for i in range(1000)], 0, 16)
    content = grey(
        [*range(0, 900, 3)],
        BitsStored=12,
        HighBit=11,
        ModalityLUTSequence=[modality],
        VOILUTSequence=[voi],
    )
    close(shown(content), expected(pydicom.dcmread(io.BytesIO(content))))


def test_monochrome1_is_white_at_its_least() -> None:
    content = grey([0, 1000, 2000], PhotometricInterpretation="MONOCHROME1")
    assert row(content) == [255, 128, 0]


def test_without_a_window_all_values_are_shown_but_padding() -> None:
    assert row(grey([10, 20, 30])) == [0, 128, 255]
    assert row(grey([7, 7, 7])) == [0, 0, 0]
    padded = grey([-2000, 10, 20, 30], signed=True, PixelPaddingValue=-2000)
    assert row(padded) == [0, 0, 128, 255]
    assert row(grey([0, 1, 1], PixelPaddingValue=0)) == [0, 255, 255]


def test_bits_beside_the_stored_ones_are_not_looked_at() -> None:
    # Overlays were kept in the upper bits once (PS3.5 §8.1.1), and bits may lie high.
    low = grey([0xF000, 0xF7FF, 0x0FFF], BitsStored=12, HighBit=11)
    assert row(low) == [0, 127, 255]
    high = grey([0x000F, 0x7FFF, 0xFFF0], BitsStored=12, HighBit=15)
    assert row(high) == [0, 127, 255]
    signed = grey([0x0800, 0x0000, 0x07FF], BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert row(signed) == [0, 128, 255]


def test_a_frames_own_functional_groups_are_used() -> None:
    def groups(center: str) -> pydicom.Dataset:
        window, group = pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = center, "100"
        window.VOILUTFunction = "LINEAR_EXACT"
        group.FrameVOILUTSequence = [window]
        return group

    content = encode_dataset(
        make_dataset(
            struct.pack("<4H", 50, 100, 50, 100),
            Rows=1,
            NumberOfFrames=2,
            PerFrameFunctionalGroupsSequence=[groups("50"), groups("100")],
        )
    )
    assert shown(content, 1)[0].tolist() == [128, 255]
    assert shown(content, 2)[0].tolist() == [0, 128]


def test_floating_pixels_may_hold_anything() -> None:
    dataset = make_dataset(
        Rows=1, Columns=4, BitsStored=None, HighBit=None, PixelRepresentation=None, BitsAllocated=32
    )
    dataset.FloatPixelData = struct.pack("<4f", float("nan"), -1.0, 1.0, float("inf"))
    assert row(encode_dataset(dataset)) == [128, 0, 255, 255]


def test_segments_of_a_palette() -> None:
    """PS3.3 §C.7.9.2: discrete, linear, and one that repeats both."""
    words = [0, 2, 10, 20, 1, 4, 60, 2, 2, 0, 0]
    once = [10, 20, 30, 40, 50, 60]
    assert _expand(words, 16, 100) == once + once
    forever = [0, 1, 5, 2, 0xFFFF, 0, 0]
    assert len(_expand(forever, 16, 1 << 16)) <= 1 << 16


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"Rows": 0}, NotFound),
        ({"Rows": 9000, "Columns": 9000}, BadRequest),
        ({"PhotometricInterpretation": "CMYK", "SamplesPerPixel": 4}, NotAcceptable),
        ({"BitsAllocated": 12}, NotAcceptable),
        ({"BitsStored": 0}, NotAcceptable),
    ],
)
def test_what_is_not_rendered(values: dict[str, Any], error: type[Exception]) -> None:
    content = encode_dataset(make_dataset(b"\0" * 8, **values))
    with pytest.raises(error):
        image_pixel(read_header(content))


def pixels(rows: int, columns: int) -> ImagePixel:
    return ImagePixel(rows, columns, 1, "MONOCHROME2", 16, 16, 15, False, False, False)


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


# ------------------------------------------------------------- parameters, pictures


def parsed(query: str) -> Parameters:
    return parse_parameters({"x": ["1"], **{k: [v] for k, v in [query.split("=", 1)]}})


def test_parameters() -> None:
    assert parsed("x=1") == Parameters()
    assert parsed("window=40,400,linear").window == Window(40, 400)
    assert parsed("window=-1.5,0.5,SIGMOID").window == Window(-1.5, 0.5, "sigmoid")
    assert parsed("window=40,400").window == Window(40, 400)
    assert parsed("viewport=10,20").viewport == Viewport(10, 20)
    assert parsed("viewport=10,20,,,-5,").viewport == Viewport(10, 20, region_width=-5.0)
    assert parsed("viewport=1,2,3,4,5,6.5").viewport == Viewport(1, 2, 3, 4, 5, 6.5)
    assert parsed("quality=1").quality == 1
    assert parsed("annotation=patient").unsupported == ("annotation",)


@pytest.mark.parametrize(
    "query",
    [
        "window=", "window=1", "window=1,2,cubic", "window=a,2,linear", "window=1,0.5,linear",
        "window=1,0,sigmoid", "window=1,-2,linear-exact", "window=1,2,linear,3", "window=nan,1",
        "window=1,inf", "window=1,1e400", "window=" + "9" * 400 + ",1", "viewport=", "viewport=1",
        "viewport=0,1", "viewport=8193,1", "viewport=1,2,3", "viewport=1,2,3,4,5,x",
        "viewport=-1,2", "viewport=1.5,2", "viewport=1,2,3,4,5,6,7", "quality=0", "quality=101",
        "quality=x", "quality=", "quality=٣",
    ],
)  # fmt: skip
def test_parameters_that_are_refused(query: str) -> None:
    with pytest.raises(BadRequest) as error:
        parsed(query)
    assert error.value.code == query.partition("=")[0]


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_parameters({"quality": ["1", "2"]})


RAMP = np.arange(8, dtype=np.uint8)[np.newaxis].repeat(4, 0) * 32


def test_a_viewport_keeps_the_aspect_and_mirrors() -> None:
    assert draw(RAMP, None).size == (8, 4)
    assert draw(RAMP, Viewport(80, 80)).size == (80, 40)
    assert draw(RAMP, Viewport(4, 1)).size == (2, 1)
    region = np.asarray(draw(RAMP, Viewport(2, 2, 4, 0, 2, 2)))
    assert region.tolist() == [[128, 160], [128, 160]]
    mirrored = np.asarray(draw(RAMP, Viewport(8, 4, 0, 0, -8, 4)))
    assert np.array_equal(mirrored, RAMP[:, ::-1])
    turned = np.asarray(draw(RAMP.T.copy(), Viewport(4, 8, 0, 0, 4, -8)))
    assert np.array_equal(turned, RAMP.T[::-1])


@pytest.mark.parametrize(
    "region", [(-1, 0, 2, 2), (7, 0, 2, 2), (0, 0, 9, 4), (0, 0, 0, 1), (8, 0, None, 1)]
)
def test_a_region_outside_the_image_is_refused(region: tuple[Any, ...]) -> None:
    with pytest.raises(BadRequest):
        draw(RAMP, Viewport(10, 10, *region))


def test_quality_is_of_jpeg() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    picture = draw(noise, None)
    assert len(encode(picture, "image/jpeg", 20)) < len(encode(picture, "image/jpeg", 95))
    assert encode(picture, "image/png", 20) == encode(picture, "image/png", 95)


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


@pytest.mark.parametrize(
    "values",
    [
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422", "BitsAllocated": 8,
         "PlanarConfiguration": 1},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 1},
        {"PhotometricInterpretation": "PALETTE COLOR", "BitsAllocated": 1},
    ],
)  # fmt: skip
def test_odd_kinds_of_pixels_are_refused(values: dict[str, Any]) -> None:
    content = encode_dataset(make_dataset(bytes(8), **values))
    with pytest.raises((NotAcceptable, Unprocessable)):
        shown(content)


def odd_elements(tag: int) -> Iterator[bytes]:
    """An element as it may not be: numbers that are none, things that are no numbers."""
    for value in (float("nan"), float("inf"), -1e300):
        yield element(tag, "FD", struct.pack("<3d", value, value, value))
    yield element(tag, "LO", b"text")
    yield element(tag, "UN", b"\1\2\3\4")
    yield element(tag, "US", b"")
    yield sequence(tag, item(element(0x00080100, "SH", b"x ")))


@pytest.mark.parametrize(
    "tag",
    [0x00280002, 0x00280010, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120,
     0x00281050, 0x00281053, 0x00281101, 0x00281201, 0x00283000, 0x00283010, 0x52009229,
     0x52009230],
)  # fmt: skip
@pytest.mark.parametrize("photometric", [b"MONOCHROME2 ", b"PALETTE COLOR "])
def test_odd_elements_cost_their_instance_alone(
    tmp_path: Path, tag: int, photometric: bytes
) -> None:
    plain = {
        0x00280002: element(0x00280002, "US", b"\1\0"),
        0x00280004: element(0x00280004, "CS", photometric),
        0x00280010: element(0x00280010, "US", b"\2\0"),
        0x00280011: element(0x00280011, "US", b"\2\0"),
        0x00280100: element(0x00280100, "US", b"\x10\0"),
        0x00280101: element(0x00280101, "US", b"\x10\0"),
        0x7FE00010: element(0x7FE00010, "OW", bytes(range(8))),
    }
    archive = FileArchive(tmp_path)
    for number, odd in enumerate(odd_elements(tag)):
        elements = plain | {tag: odd}
        content = part10(identifiers() + b"".join(elements[one] for one in sorted(elements)))
        identity = InstanceIdentity("default", "1.2", "1.3", f"1.4.{number}")
        store_bytes(archive, identity, content, "1.2.840.10008.1.2.1")
        stored = find_instance(archive, "default", "1.2", "1.3", identity.sop_instance_uid)
        try:
            with open_image(archive, Cache(), stored) as opened:
                made = render(opened, 1, Parameters(), "image/png", thumbnail=False)
        except PacslessError:
            continue
        assert made.startswith(b"\x89PNG")


def test_a_picture_that_is_too_long_for_its_media_type_is_refused() -> None:
    long = draw(np.zeros((1, 70_000), np.uint8), None)
    for media_type in ("image/jpeg", "image/gif"):
        with pytest.raises(NotAcceptable):
            encode(long, media_type, 90)
    assert encode(long, "image/png", 90)
