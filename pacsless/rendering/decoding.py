"""One frame's bytes to stored samples (PS3.5 §8, §A.4)."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pacsless.dicom.transfer_syntaxes import (
    CODESTREAMS,
    DEFLATED_IMAGE_FRAME,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    RLE_LOSSLESS,
    lookup,
    name,
)
from pacsless.errors import NotAcceptable, Unprocessable
from pacsless.rendering.codestream import damaged, read_codestream
from pacsless.rendering.image import ImagePixel

Samples = NDArray[Any]


def require_decodable(transfer_syntax: str) -> None:
    """See that frames of a transfer syntax can be decoded here.

    Raises
    ------
    NotAcceptable
        If they cannot.
    """
    syntax = lookup(transfer_syntax)
    if syntax.encapsulated and not syntax.is_decodable:
        raise NotAcceptable(
            "transfer-syntax",
            f"frames in {name(transfer_syntax)} are not rendered: retrieve the frames instead",
        )


def decode(
    data: bytes, image: ImagePixel, transfer_syntax: str, bit_offset: int = 0
) -> tuple[Samples, str]:
    """Decode one frame.

    Parameters
    ----------
    data
        The frame's bytes; little endian if they are native.
    image
        What the header says of it.
    transfer_syntax
        Of the file.
    bit_offset
        Bits of the first byte that belong to the frame before.

    Returns
    -------
    tuple
        Samples as they are stored, unsigned, rows × columns or rows × columns ×
        3, or floating numbers; and the photometric interpretation they are
        now in.

    Raises
    ------
    NotAcceptable
        If the transfer syntax is none that is decoded.
    Unprocessable
        If the frame is damaged, or is of another size than the header says.
    """
    require_decodable(transfer_syntax)
    photometric = image.photometric_interpretation
    if transfer_syntax in CODESTREAMS:
        samples, photometric = _compressed(data, image, transfer_syntax)
    elif transfer_syntax == RLE_LOSSLESS:
        # Planes are whole in RLE (PS3.5 §G.2), whatever the header says.
        image = replace(image, photometric_interpretation=photometric.removesuffix("_422"))
        samples = _native(_run_lengths(data, image), image, planar=True)
    else:
        if transfer_syntax == DEFLATED_IMAGE_FRAME:
            data = _inflated(data, image.native_bytes)
        samples = _native(data, image, bit_offset, planar=image.is_planar)
    # Each pixel has its own chrominance now.
    return samples, photometric.removesuffix("_422")


def _native(
    data: bytes | bytearray, image: ImagePixel, bit_offset: int = 0, *, planar: bool
) -> Samples:
    pixels = image.rows * image.columns
    if len(data) < image.native_bytes:
        raise Unprocessable("truncated", "Pixel Data is shorter than one frame")
    if image.bits_allocated == 1:
        bits = np.frombuffer(data, np.uint8)
        unpacked = np.unpackbits(bits, count=bit_offset + pixels, bitorder="little")
        return unpacked[bit_offset:].reshape(image.rows, image.columns)
    kind = "f" if image.is_float else "u"
    samples = np.frombuffer(
        data,
        f"<{kind}{image.bits_allocated // 8}",
        count=image.native_bytes // (image.bits_allocated // 8),
    )
    if image.samples_per_pixel == 1:
        return samples.reshape(image.rows, image.columns)
    if image.is_subsampled:
        return _upsampled(samples, image)
    if planar:
        return np.moveaxis(samples.reshape(3, image.rows, image.columns), 0, 2)
    return samples.reshape(image.rows, image.columns, 3)


def _upsampled(samples: Samples, image: ImagePixel) -> Samples:
    """Y1 Y2 CB CR, two pixels: each gets the pair's chrominance (PS3.3 §C.7.6.3.1.2)."""
    if image.columns % 2:
        raise Unprocessable("odd-columns", "an image of subsampled chrominance has odd columns")
    pairs = samples.reshape(-1, 4)
    full = np.empty((pairs.shape[0], 2, 3), samples.dtype)
    full[:, :, 0] = pairs[:, :2]
    full[:, :, 1:] = pairs[:, np.newaxis, 2:]
    return full.reshape(image.rows, image.columns, 3)


def _run_lengths(data: bytes, image: ImagePixel) -> bytearray:
    """Decode RLE; planes come out one after another (PS3.5 §G.2)."""
    if image.bits_allocated not in (8, 16, 32):
        raise NotAcceptable("kind", "run length encoded pixels of this size are not rendered")
    size = image.rows * image.columns * image.samples_per_pixel * image.bits_allocated // 8
    out = bytearray(size)
    try:
        imagecodecs.dicomrle_decode(data, f"<u{image.bits_allocated // 8}", out=out)
    except (RuntimeError, ValueError):
        raise damaged() from None
    return out


def _inflated(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data, size)
    except zlib.error:
        raise Unprocessable("bad-deflate", "the compressed frame is damaged") from None


def _another_size() -> Unprocessable:
    return Unprocessable("bad-codestream", "the frame is not as large as the header says")


def _compressed(data: bytes, image: ImagePixel, syntax: str) -> tuple[Samples, str]:
    stream = read_codestream(data)
    if (stream.rows, stream.columns, stream.samples) != (
        image.rows,
        image.columns,
        image.samples_per_pixel,
    ):
        raise _another_size()
    photometric = image.photometric_interpretation
    try:
        if stream.is_lossless and image.samples_per_pixel == 3:
            # What its samples are, the header says; libjpeg would refuse to convert them.
            samples = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
        elif syntax in JPEG and image.samples_per_pixel == 3:
            # Many writers leave the header as it was before compression, so what
            # the JPEG says of its colours goes before what the header says.
            space = "RGB" if photometric == "RGB" else "YCBCR"
            samples = imagecodecs.jpeg8_decode(
                data, colorspace=None if stream.tells_colour else space, outcolorspace="RGB"
            )
            photometric = "RGB"
        elif syntax in JPEG:
            samples = imagecodecs.jpeg8_decode(data)
        elif syntax in JPEG_LS:
            samples = imagecodecs.jpegls_decode(data)
        elif syntax in JPEG_2000:
            samples = imagecodecs.jpeg2k_decode(stream.data, numthreads=1)
        else:
            samples = imagecodecs.htj2k_decode(stream.data)
    except (RuntimeError, ValueError):
        raise damaged() from None
    if photometric in ("YBR_RCT", "YBR_ICT"):
        photometric = "RGB"  # PS3.5 §8.2.4: the codestream undoes its own transformation
    if samples.shape != ((image.rows, image.columns, 3)[: 2 + (image.samples_per_pixel == 3)]):
        raise _another_size()
    return samples.view(f"u{samples.itemsize}"), photometric
