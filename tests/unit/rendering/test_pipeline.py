"""From stored values to shown ones, against pydicom and the standard's formulas."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.dicom.header import read_header
from pacsless.rendering.image import ImagePixel
from pacsless.rendering.luts import _expand
from pacsless.rendering.parameters import Window
from pacsless.rendering.pipeline import _share, show
from tests.dicom_files import BUNDLED
from tests.instances import encode as encode_dataset
from tests.instances import make_dataset
from tests.rendering import close, expected, grey, row, shown


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


@settings(deadline=None)
@given(
    padding=st.sampled_from([None, 3, -2, 0]),
    bits=st.integers(2, 16),
    signed=st.booleans(),
    slope=st.sampled_from([-2.5, -1.0, 1.0, 3.25]),
    window=st.sampled_from([None, Window(40, 400), Window(100, 30, "sigmoid")]),
    inverted=st.booleans(),
    seed=st.integers(0, 1 << 16),
)
def test_tables_show_what_the_formulas_do_pixel_by_pixel(  # noqa: PLR0917 - drawn, not passed
    bits: int, signed: bool, slope: float, window: Window | None, inverted: bool, seed: int,
    padding: int | None,
) -> None:  # fmt: skip
    image = ImagePixel(
        rows=8, columns=8, samples_per_pixel=1, bits_allocated=16, bits_stored=bits,
        high_bit=bits - 1, is_signed=signed, is_float=False, is_planar=False,
        photometric_interpretation="MONOCHROME1" if inverted else "MONOCHROME2",
    )  # fmt: skip
    samples = np.random.default_rng(seed).integers(0, 1 << 16, (8, 8)).astype(np.uint16)
    dataset = make_dataset(RescaleSlope=slope, RescaleIntercept=-7)
    if padding is not None:
        dataset.add_new("PixelPaddingValue", "SS", padding)
    header = read_header(io.BytesIO(encode_dataset(dataset)))
    made = show(samples, image.photometric_interpretation, image, header, frame=1, window=window)
    words = samples.astype(np.int64) & ((1 << bits) - 1)
    numbers = np.where(words >> (bits - 1), words - (1 << bits), words) if signed else words
    values = numbers * slope - 7.0
    voi = window
    if voi is None:
        shown_ones = values[numbers != padding] if padding is not None else values
        if len(set(shown_ones.flat)) < 2:
            shown_ones = values
        width = float(shown_ones.max() - shown_ones.min()) or 1.0
        voi = Window(float(shown_ones.min()) + width / 2, width, "linear-exact")
    shares = _share(values, voi)
    expected_grey = ((1 - shares if inverted else shares) * 255 + 0.5).astype(np.uint8)
    assert np.array_equal(made, expected_grey)
