"""Colour profiles of pictures (PS3.18 §8.3.5.1.5, PS3.3 §C.11.15)."""

from __future__ import annotations

import io
from functools import cache
from typing import Any, BinaryIO, Final

from PIL import ImageCms
from PIL.Image import Image

from pacsless.dicom.dataset import Header
from pacsless.rendering.image import items

_PROFILE: Final = 0x00282000
_LONGEST: Final = 8 << 20
"""Of a profile; those of slide scanners have a megabyte or two."""
_SHORTEST: Final = 132
"""Of a profile: its header, and how many tags there are (ICC.1 §7.2)."""


def profiled(
    picture: Image, header: Header, file: BinaryIO, icc_profile: str
) -> tuple[Image, bytes | None]:
    """Return a picture, and the ICC profile that is to be embedded in it.

    A grey picture has none: what its values look like, the Grayscale Standard
    Display Function says (PS3.14).

    Parameters
    ----------
    picture
        In the colours of the instance.
    header, file
        Which may have their profile.
    icc_profile
        ``no``, ``yes`` for the instance's own, or ``srgb`` to have it converted.
    """
    if icc_profile == "no" or picture.mode != "RGB":
        return picture, None
    own = profile_of(header, file)
    if own is None:
        return picture, srgb()  # what screens take for granted
    if icc_profile == "yes":
        return picture, own
    try:
        made = ImageCms.profileToProfile(
            picture, io.BytesIO(own), io.BytesIO(srgb()), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, ValueError):
        return picture, srgb()  # a damaged profile is as good as none
    return made or picture, srgb()


def profile_of(header: Header, file: BinaryIO) -> bytes | None:
    """Return the profile of an instance or of its first optical path, if it is one of RGB."""
    paths = items(header, "OpticalPathSequence")[:1]
    for one in (header, *paths):
        value: Any = one.get("ICCProfile")
        large = one.bulk.get(_PROFILE)
        if large and large.length and large.length <= _LONGEST:
            file.seek(large.offset)
            value = file.read(large.length)
        if not isinstance(value, bytes) or len(value) < _SHORTEST:
            continue
        size = int.from_bytes(value[:4], "big")
        if _SHORTEST <= size <= len(value) and value[16:20] == b"RGB " and value[36:40] == b"acsp":
            return value[:size]  # an odd one is padded
    return None


@cache
def srgb() -> bytes:
    """Return a profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
