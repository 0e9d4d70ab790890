"""What a header says of an image's pixels (PS3.3 §C.7.6.3), in bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from pydicom.sequence import Sequence

from pacsless.dicom.dataset import Header
from pacsless.errors import BadRequest, NotAcceptable, NotFound

MAX_SAMPLES: Final = 64 << 20
"""Samples of a frame, in all its planes: what a worker of 1 GiB can render."""
_FLOATS: Final = {0x7FE00008: 32, 0x7FE00009: 64}
_MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The Image Pixel attributes that say how to read a frame."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    is_float: bool

    @property
    def is_subsampled(self) -> bool:
        """Whether native pixels share chrominance in pairs (PS3.3 §C.7.6.3.1.2)."""
        return self.photometric_interpretation == "YBR_FULL_422" and not self.is_planar

    @property
    def native_bytes(self) -> int:
        """Bytes of a frame that is not compressed."""
        samples = 2 if self.is_subsampled else self.samples_per_pixel
        return (self.rows * self.columns * samples * self.bits_allocated + 7) // 8


def image_pixel(header: Header) -> ImagePixel:
    """Read the Image Pixel attributes.

    Raises
    ------
    NotFound
        If the instance is no image.
    BadRequest
        If it is larger than is rendered.
    NotAcceptable
        If it is of a kind that is not rendered.
    """
    floating = next((bits for tag, bits in _FLOATS.items() if tag in header.bulk), 0)
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    if (not floating and 0x7FE00010 not in header.bulk) or rows < 1 or columns < 1:
        raise NotFound("no-image", "the instance is no image: it cannot be rendered")
    samples = integer(header, "SamplesPerPixel", 1)
    if rows * columns * samples > MAX_SAMPLES:
        raise BadRequest(
            "too-large",
            f"the image has more than {MAX_SAMPLES >> 20} Mi samples: retrieve its frames instead",
        )
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2").strip()
    allocated = floating or integer(header, "BitsAllocated")
    stored = allocated if floating else min(integer(header, "BitsStored", allocated), allocated)
    known = {1: _MONOCHROME | {"PALETTE COLOR"}, 3: _COLOUR}.get(samples, frozenset())
    if floating or allocated == 1:
        known &= _MONOCHROME
    if photometric not in known or allocated not in (1, 8, 16, 32, 64) or stored < 1:
        raise NotAcceptable("kind", "images of this photometric interpretation are not rendered")
    if allocated == 64 and not floating:
        raise NotAcceptable("kind", "pixels of 64 bits are not rendered")
    high_bit = integer(header, "HighBit", stored - 1)
    return ImagePixel(
        rows,
        columns,
        samples,
        photometric,
        allocated,
        stored,
        high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        is_signed=integer(header, "PixelRepresentation") == 1,
        is_planar=samples > 1 and integer(header, "PlanarConfiguration") == 1,
        is_float=bool(floating),
    )


def integer(header: Header, keyword: str, default: int = 0) -> int:
    """Return a whole number, or the default if there is none."""
    found = numbers(header, keyword)
    return int(found[0]) if found else default


def numbers(header: Header, keyword: str) -> list[float]:
    """Return the numbers of an element; none if one of them is no number, or none there is."""
    value: Any = header.get(keyword)
    if value is None or isinstance(value, str | bytes):
        return []
    try:
        found = [float(one) for one in (value if hasattr(value, "__iter__") else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
    return found if all(map(math.isfinite, found)) else []


def items(header: Header, keyword: str) -> list[Header]:
    """Return the items of a sequence; none if the element is another thing."""
    value: Any = header.get(keyword)
    return [one for one in value if isinstance(one, Header)] if isinstance(value, Sequence) else []
