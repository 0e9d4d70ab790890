"""Where the frames of an instance are in its file (PS3.5 §8, §A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Byte ranges of frames, and the facts needed to serve them.

    Attributes
    ----------
    transfer_syntax
        Of the file.
    media_type
        Of one frame's bytes (PS3.18 Table 8.7.3-5).
    is_encapsulated
        Whether frames are fragments.
    number_of_frames
        Frames that are really there, which may be fewer than (0028,0008) says.
    rows, columns, samples_per_pixel, bits_allocated
        Image Pixel attributes, 0 if absent.
    byte_aligned
        False if frames of 1 bit per pixel start inside a byte: then `ranges`
        gives all bytes the frame touches and `bit_offset` where it begins.
    """

    transfer_syntax: str
    media_type: str
    is_encapsulated: bool
    number_of_frames: int
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    byte_aligned: bool

    def ranges(self, frame: int) -> list[tuple[int, int]]:
        """Return (offset, length) of each piece of a frame, numbered from 1.

        Raises
        ------
        NotFound
            If there is no such frame.
        """
        raise NotImplementedError

    def bit_offset(self, frame: int) -> int:
        """Return how many bits of the first byte belong to the frame before."""
        raise NotImplementedError


def locate_frames(file: BinaryIO) -> FrameTable:
    """Locate the frames of a PS3.10 file without reading pixel values.

    Raises
    ------
    Unprocessable
        ``no-pixel-data``, ``deflated`` (the file has no frame as a range of
        bytes), ``truncated``, ``bad-fragments``.
    """
    raise NotImplementedError
