"""Rendering for tests: the service's own parts, and pydicom, which computes another way."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from pacsless.dicom import explicit_le
from pacsless.dicom.frames import locate_frames
from pacsless.dicom.header import Limits, read_header
from pacsless.dicom.transfer_syntaxes import lookup
from pacsless.rendering.decoding import decode
from pacsless.rendering.image import ImagePixel, image_pixel
from pacsless.rendering.parameters import Window
from pacsless.rendering.pipeline import show
from tests.instances import encode as encode_dataset
from tests.instances import make_dataset

Array = NDArray[Any]


def shown(content: bytes, frame: int = 1, window: Window | None = None) -> Array:
    """Render a frame of a file with the service's own parts."""
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


def pixels(rows: int, columns: int) -> ImagePixel:
    return ImagePixel(rows, columns, 1, "MONOCHROME2", 16, 16, 15, False, False, False)
