"""Decoded samples as native Pixel Data (PS3.5 §8.1.1, §8.2)."""

from __future__ import annotations

from pacsless.errors import NotAcceptable, Unprocessable
from pacsless.rendering.decoding import Samples
from pacsless.rendering.image import ImagePixel


def native_length(image: ImagePixel) -> int:
    """Return the bytes of a decoded frame, whose chrominance is not subsampled any more.

    Raises
    ------
    NotAcceptable
        If pixels of this size are not written.
    """
    if image.bits_allocated not in (8, 16, 32):
        raise NotAcceptable("kind", "compressed pixels of this size are not decoded")
    return image.rows * image.columns * image.samples_per_pixel * image.bits_allocated // 8


def to_native(samples: Samples, image: ImagePixel) -> bytes:
    """Return the bytes of a decoded frame: little endian, colour by pixel.

    Parameters
    ----------
    samples
        Rows × columns or rows × columns × 3, as `decode` returns them.
    image
        What the header says of them.

    Raises
    ------
    Unprocessable
        If they are larger than the header says.
    """
    size = image.bits_allocated // 8
    if samples.itemsize > size:
        raise Unprocessable("bad-codestream", "the frame has more bits than the header says")
    return samples.astype(f"<u{size}", copy=False).tobytes()
