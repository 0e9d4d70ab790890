"""Decoded samples as native Pixel Data (PS3.5 §8.1.1, §8.2)."""

from __future__ import annotations

from typing import Final

from pacsless.errors import NotAcceptable, Unprocessable
from pacsless.rendering.decoding import Samples
from pacsless.rendering.image import ImagePixel

_LARGEST: Final = 64 << 20
"""Bytes of a frame: who decodes holds it twice."""


def native_length(image: ImagePixel) -> int:
    """Return the bytes of a decoded frame, whose chrominance is not subsampled any more.

    Raises
    ------
    NotAcceptable
        If pixels of this size are not written.
    """
    if image.bits_allocated not in (8, 16, 32):
        raise NotAcceptable("kind", "compressed pixels of this size are not decoded")
    pixels = image.rows * image.columns
    length = pixels * image.samples_per_pixel * image.bits_allocated // 8
    if length > _LARGEST:
        raise NotAcceptable(
            "too-large", f"frames of more than {_LARGEST >> 20} MiB are not decoded"
        )
    return length


def to_native(samples: Samples, image: ImagePixel, *, codestream: bool) -> bytes:
    """Return the bytes of a decoded frame: little endian, colour by pixel.

    Parameters
    ----------
    samples
        Rows × columns or rows × columns × 3, as `decode` returns them.
    image
        What the header says of them.
    codestream
        Whether they were stored as numbers, and not in the words of Pixel Data.

    Raises
    ------
    Unprocessable
        If they are larger than the header says.
    """
    size = image.bits_allocated // 8
    if samples.itemsize > size:
        raise Unprocessable("bad-codestream", "the frame has more bits than the header says")
    words = samples.astype(f"<u{size}", copy=False)
    unused = image.bits_allocated - image.bits_stored
    if codestream and image.is_signed and unused:
        # Whoever reads words without a look at High Bit finds the number, too.
        words = (words << unused).view(f"<i{size}") >> unused
    return words.tobytes()
