"""Stored samples to what a screen shows: PS3.4 §N.2, to 8 bits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsless.dicom.dataset import Header
from pacsless.rendering.decoding import Samples
from pacsless.rendering.image import ImagePixel, numbers
from pacsless.rendering.luts import Lut, Rescale, Values, modality_lut, palette, voi_lut
from pacsless.rendering.parameters import Window

Shown = NDArray[np.uint8]

_BLOCK: Final = 1 << 20
"""Samples worked on at a time: indexes and floating numbers take eight bytes each."""
_TABLED: Final = 16
"""Bits of samples up to which each value is computed once, and then looked up."""


def show(
    samples: Samples,
    photometric: str,
    image: ImagePixel,
    header: Header,
    *,
    frame: int,
    window: Window | None = None,
) -> Shown:
    """Return a frame as grey values, rows × columns, or RGB, rows × columns × 3.

    Parameters
    ----------
    samples, photometric
        What `decode` returned.
    image, header, frame
        What they are the samples of.
    window
        Used instead of what the instance says; for grey images only.
    """
    if image.samples_per_pixel == 3:
        return _colour(samples, photometric, image)
    if photometric == "PALETTE COLOR":
        first, colours = palette(header)
        out = np.empty((*samples.shape, 3), np.uint8)
        for stored, shown in _blocks(samples, out):
            at = _values(stored, image).astype(np.int64) - first
            shown[:] = colours[np.clip(at, 0, len(colours) - 1)]
        return out
    return _grey(samples, image, header, frame, window)


def _colour(samples: Samples, photometric: str, image: ImagePixel) -> Shown:
    if samples.dtype != np.uint8:
        out = np.empty(samples.shape, np.uint8)
        for stored, shown in _blocks(samples, out):
            words = stored & _mask(image)
            # Colours fill their bits: of 12 bits the upper 8 are shown.
            shown[:] = words >> (image.bits_stored - 8) if image.bits_stored > 8 else words
        samples = out
    if not photometric.startswith("YBR"):
        return np.ascontiguousarray(samples)
    # JFIF's equations are those of PS3.3 §C.7.6.3.1.2.
    return np.asarray(Image.fromarray(np.ascontiguousarray(samples), "YCbCr").convert("RGB"))


def _grey(
    samples: Samples, image: ImagePixel, header: Header, frame: int, window: Window | None
) -> Shown:
    padding = _padding(header)
    modality = modality_lut(header, frame)
    voi = window or voi_lut(header, frame)
    inverted = image.photometric_interpretation == "MONOCHROME1"
    is_tabled = image.bits_stored <= _TABLED and not image.is_float
    if is_tabled and isinstance(modality, Rescale) and isinstance(voi, Window):
        table = _table(image.bits_stored, image.is_signed, modality, voi, inverted)
        return _looked_up(table, samples, image)
    present: NDArray[np.int64] | None = None
    ends: Values | None = None
    if is_tabled and isinstance(modality, Rescale):
        # A line has its ends at theirs.
        ends = _ends(samples, image, padding)
        present = np.arange(ends.min(), ends.max() + 1).astype(np.int64) & int(_mask(image))
    elif is_tabled:
        present = _present(samples, image)
    if voi is None:

        def values() -> Iterable[Values]:
            if ends is not None:
                return [ends]
            if present is not None:
                return [_signed(present, image)]
            return (_values(stored, image) for stored, _ in _blocks(samples, samples))

        voi = _range(values, image, modality, padding)
    if present is not None:
        table = np.zeros(1 << image.bits_stored, np.uint8)
        table[present] = _displayed(_signed(present, image), modality, voi, inverted)
        return _looked_up(table, samples, image)
    out = np.empty(samples.shape, np.uint8)
    for stored, shown in _blocks(samples, out):
        shown[:] = _displayed(_values(stored, image), modality, voi, inverted)
    return out


@functools.lru_cache(maxsize=64)
def _table(bits: int, signed: bool, modality: Rescale, voi: Window, inverted: bool) -> Shown:
    """Return what every value there can be is shown as: the images of a series ask for one."""
    values = _numbers(np.arange(1 << bits), bits, signed)
    return _displayed(values, modality, voi, inverted)


def _displayed(
    values: Values, modality: Callable[[Values], Values], voi: Lut | Window, inverted: bool
) -> Shown:
    share = _share(modality(values), voi)
    shown: Shown = ((1.0 - share if inverted else share) * 255.0 + 0.5).astype(np.uint8)
    return shown


def _looked_up(table: Shown, samples: Samples, image: ImagePixel) -> Shown:
    out = np.empty(samples.shape, np.uint8)
    for stored, shown in _blocks(samples, out):
        np.take(table, _bits(stored, image), out=shown, mode="clip")
    return out


def _present(samples: Samples, image: ImagePixel) -> NDArray[np.int64]:
    """Return the bits of each value of a frame once: what is done with values is done with few."""
    seen = np.zeros(1 << image.bits_stored, np.bool_)
    for stored, _ in _blocks(samples, samples):
        seen[_bits(stored, image)] = True
    return np.flatnonzero(seen)


def _ends(samples: Samples, image: ImagePixel, padding: tuple[float, float] | None) -> Values:
    """Return the least and the greatest number of a frame, and of what of it is no padding."""
    # With the sign turned around, bits are in the order of their numbers.
    sign = 1 << (image.bits_stored - 1) if image.is_signed else 0
    ends: list[int] = []
    for stored, _ in _blocks(samples, samples):
        bits = _bits(stored, image)
        ordered = bits ^ bits.dtype.type(sign) if sign else bits
        low, high = int(ordered.min()), int(ordered.max())
        ends += (low, high)
        if padding and padding[0] + sign <= high and low <= padding[1] + sign:
            kept = ordered[(ordered < padding[0] + sign) | (ordered > padding[1] + sign)]
            if kept.size:
                ends += (int(kept.min()), int(kept.max()))
    return np.array(ends, np.float64) - sign


def _share(values: Values, voi: Lut | Window) -> Values:
    """Return how bright values are, from 0 to 1 (PS3.3 §C.11.2.1)."""
    values = np.nan_to_num(values)
    if isinstance(voi, Lut):
        return np.clip(voi(values) / ((1 << voi.bits) - 1), 0.0, 1.0)
    if voi.function == "sigmoid":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - voi.center) / voi.width, -700, 700)))
    center, width = voi.center, voi.width
    if voi.function == "linear":
        center, width = center - 0.5, width - 1.0
    if width <= 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _range(
    blocks: Callable[[], Iterable[Values]],
    image: ImagePixel,
    modality: Callable[[Values], Values],
    padding: tuple[float, float] | None,
) -> Window:
    """Return the window from the least to the greatest value there is, padding left out."""
    if image.bits_stored == 1:
        return Window(0.5, 1.0, "linear-exact")
    least, greatest = np.inf, -np.inf
    for block in blocks():
        values = block
        if padding:
            values = values[(values < padding[0]) | (values > padding[1])]
        values = modality(values)
        values = values[np.isfinite(values)]
        if values.size:
            least, greatest = min(least, values.min()), max(greatest, values.max())
    if not least < greatest and padding:
        return _range(blocks, image, modality, None)  # one label, and padding around it
    if not least < greatest:
        # One value only: no window tells it from another.
        least, greatest = (least, least + 1) if np.isfinite(least) else (0.0, 1.0)
    width = float(greatest - least)
    return Window(float(least) + width / 2, width, "linear-exact")


def _padding(header: Header) -> tuple[float, float] | None:
    """Return from where to where values are no image (PS3.3 §C.7.5.1.1.2)."""
    value = numbers(header, "PixelPaddingValue")
    if not value:
        return None
    limit = numbers(header, "PixelPaddingRangeLimit") or value
    return min(value[0], limit[0]), max(value[0], limit[0])


def _values(stored: Samples, image: ImagePixel) -> Values:
    if image.is_float:
        return stored.astype(np.float64)
    return _signed(_bits(stored, image).astype(np.int64), image)


def _bits(stored: Samples, image: ImagePixel) -> Samples:
    """Return the bits that are stored, moved to the low end (PS3.5 §8.1.1)."""
    shift = image.high_bit + 1 - image.bits_stored
    if not shift and image.bits_stored == 8 * stored.itemsize:
        return stored
    bits: Samples = (stored >> shift if shift else stored) & _mask(image)
    return bits


def _mask(image: ImagePixel) -> np.uint32:
    return np.uint32((1 << image.bits_stored) - 1)


def _signed(bits: NDArray[np.int64], image: ImagePixel) -> Values:
    return _numbers(bits, image.bits_stored, image.is_signed)


def _numbers(bits: NDArray[np.int64], stored: int, signed: bool) -> Values:
    """Read the bits that are stored, in two's complement if they are signed."""
    if signed:
        sign = 1 << (stored - 1)
        bits = (bits ^ sign) - sign
    return bits.astype(np.float64)


def _blocks(samples: Samples, out: Samples) -> Iterator[tuple[Samples, Samples]]:
    """Walk through both by rows, a block at a time."""
    step = max(1, _BLOCK // max(1, samples[0].size))
    for begin in range(0, len(samples), step):
        yield samples[begin : begin + step], out[begin : begin + step]
