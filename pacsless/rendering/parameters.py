"""Query parameters of rendered resources (PS3.18 §8.3.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pacsless.errors import BadRequest

MAX_SIDE: Final = 4096
"""Of a viewport: larger than any screen."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,16}(?:\.[0-9]{0,16})?|\.[0-9]{1,16})", re.ASCII)
_SIZE: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_FUNCTIONS: Final = ("linear", "linear-exact", "sigmoid")
QUALITY: Final = 90
"""Of JPEG, unless another is asked for."""
_PROFILES: Final = ("no", "yes", "srgb")
_OTHER_PROFILES: Final = ("adobergb", "rommrgb")
"""The standard's others, which are not free to be had."""
ANNOTATIONS: Final = ("patient", "technique")
"""What can be burned in."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are shown between black and white (PS3.3 §C.11.2.1.2)."""

    center: float
    width: float
    function: str = "linear"
    """``linear``, ``linear-exact`` or ``sigmoid``."""

    @property
    def is_valid(self) -> bool:
        """Whether the width is one its function takes (PS3.3 §C.11.2.1.2.1, §C.11.2.1.3)."""
        return self.width >= 1 if self.function == "linear" else self.width > 0


@dataclass(frozen=True, slots=True)
class Viewport:
    """Where a picture has to fit in, and which region of the image it shows.

    A negative width or height of the region mirrors it; None is up to the edge.
    """

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    region_width: float | None = None
    region_height: float | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to render."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = QUALITY
    annotation: tuple[str, ...] = ()
    """Which of `ANNOTATIONS` are burned in."""
    icc_profile: str = "no"
    """Whether one is embedded: ``no``, ``yes``, or ``srgb`` to have colours converted."""
    unsupported: tuple[str, ...] = ()
    """Parameters of the standard that were given and change nothing here."""


def parse_parameters(given: Mapping[str, Sequence[str]]) -> Parameters:
    """Read the parameters of a request; those the standard does not define are passed over.

    Raises
    ------
    BadRequest
        If one is malformed; the message says how it is written.
    """
    for name in ("window", "viewport", "quality", "iccprofile"):
        if len(given.get(name, ())) > 1:
            raise BadRequest(name, f"{name} is given more than once")
    annotation, unknown = parse_annotation(given.get("annotation", ()))
    profile = given["iccprofile"][0] if "iccprofile" in given else "no"
    if profile not in _PROFILES + _OTHER_PROFILES:
        raise BadRequest(
            "iccprofile", f"iccprofile is one of {', '.join(_PROFILES + _OTHER_PROFILES)}"
        )
    return Parameters(
        window=_window(given["window"][0]) if "window" in given else None,
        viewport=_viewport(given["viewport"][0]) if "viewport" in given else None,
        quality=parse_quality(given["quality"][0], "quality") if "quality" in given else QUALITY,
        annotation=annotation,
        icc_profile=profile if profile in _PROFILES else "no",
        unsupported=(
            *(("annotation",) if unknown else ()),
            *(("charset",) if "charset" in given else ()),
            *(("iccprofile",) if profile in _OTHER_PROFILES else ()),
        ),
    )


def parse_annotation(given: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return which annotations are wanted, and whether others were, too (PS3.18 §8.3.5.1.1)."""
    words = {word.strip() for text in given for word in text.split(",")} - {""}
    return tuple(one for one in ANNOTATIONS if one in words), not words <= set(ANNOTATIONS)


def _window(text: str) -> Window:
    center, width, function = [*text.split(",", 3), "", "", ""][:3]
    if text.count(",") > 2 or not is_decimal(center) or not is_decimal(width):
        raise BadRequest("window", "a window is window=center,width,function")
    function = function.lower() or "linear"
    if function not in _FUNCTIONS:
        raise BadRequest("window", f"a window's function is one of {', '.join(_FUNCTIONS)}")
    window = Window(float(center), float(width), function)
    if not window.is_valid:
        least = "at least 1" if function == "linear" else "more than 0"
        raise BadRequest("window", f"the width of a {function} window is {least}")
    return window


def _viewport(text: str) -> Viewport:
    fields = text.split(",", 6)
    usage = "a viewport is viewport=vw,vh or viewport=vw,vh,sx,sy,sw,sh"
    if len(fields) not in (2, 6) or not all(_SIZE.fullmatch(one) for one in fields[:2]):
        raise BadRequest("viewport", usage)
    if not all(one == "" or is_decimal(one) for one in fields[2:]):
        raise BadRequest("viewport", usage)
    width, height = int(fields[0]), int(fields[1])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BadRequest("viewport", f"a viewport is 1 to {MAX_SIDE} pixels wide and high")
    x, y, region_width, region_height = (
        float(one) if one else None for one in (*fields[2:], "", "", "", "")[:4]
    )
    return Viewport(width, height, x or 0.0, y or 0.0, region_width, region_height)


def parse_quality(text: str, name: str) -> int:
    """Read the quality of a JPEG, the value of a parameter called `name`.

    Raises
    ------
    BadRequest
        If it is none.
    """
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise BadRequest("quality", f"{name} is a whole number from 1 to 100")
    return int(text)


def is_decimal(text: str) -> bool:
    """Whether a text is a decimal number of a sensible length."""
    return _NUMBER.fullmatch(text) is not None
