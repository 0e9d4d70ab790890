"""Rendered pixels to a file: region, viewport, media type (PS3.18 §8.3.5.1.3, §8.7.4)."""

from __future__ import annotations

import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose

from pacsless.errors import BadRequest, NotAcceptable
from pacsless.negotiation import Representation
from pacsless.rendering.parameters import Viewport

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
PICTURES: Final = tuple(Representation(one) for one in (JPEG, PNG, GIF))
"""What an image is rendered to, best first."""
_LONGEST: Final = {JPEG: 65_500, GIF: 65_535}
_GAP: Final = 3.0
"""Larger reductions begin with averages of whole pixels, which look the same and are quick."""


def draw(shown: NDArray[np.uint8], viewport: Viewport | None) -> Image.Image:
    """Cut the region out, mirror it and fit it into the viewport, its aspect kept.

    Raises
    ------
    BadRequest
        If the region is not within the image.
    """
    picture = Image.fromarray(shown)
    if viewport is None:
        return picture
    width = _length(viewport.x, viewport.region_width, picture.width)
    height = _length(viewport.y, viewport.region_height, picture.height)
    scale = min(viewport.width / width, viewport.height / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    box = (viewport.x, viewport.y, viewport.x + width, viewport.y + height)
    picture = picture.resize(size, Resampling.BICUBIC, box, reducing_gap=_GAP)
    if (viewport.region_width or 1) < 0:
        picture = picture.transpose(Transpose.FLIP_LEFT_RIGHT)
    if (viewport.region_height or 1) < 0:
        picture = picture.transpose(Transpose.FLIP_TOP_BOTTOM)
    return picture


def shrunk(viewport: Viewport | None, rows: int, columns: int, side: int) -> Viewport | None:
    """Return the viewport of a thumbnail: no image is made larger for it."""
    if viewport is None and max(rows, columns) > side:
        return Viewport(side, side)
    return viewport


def _length(start: float, asked: float | None, whole: int) -> float:
    length = whole - start if asked is None else abs(asked)
    if start < 0 or length <= 0 or start + length > whole:
        raise BadRequest("viewport", "the viewport's region is not within the image")
    return length


def encode(
    picture: Image.Image, media_type: str, quality: int, icc_profile: bytes | None = None
) -> bytes:
    """Write a picture; `quality` is for JPEG, the others lose nothing to it.

    A GIF has no place for a colour profile.

    Raises
    ------
    NotAcceptable
        If it is longer than the media type has.
    """
    how: dict[str, dict[str, Any]] = {
        JPEG: {"format": "JPEG", "quality": quality, "icc_profile": icc_profile},
        PNG: {"format": "PNG", "compress_level": 3, "icc_profile": icc_profile},
        GIF: {"format": "GIF"},
    }
    if max(picture.size) > _LONGEST.get(media_type, math.inf):
        raise NotAcceptable(
            "too-long", f"an {media_type} cannot be so long: ask for a viewport, or a PNG"
        )
    out = io.BytesIO()
    picture.save(out, **how[media_type])
    return out.getvalue()
