"""What the routes of rendered resources can, for those who ask."""

from __future__ import annotations

from typing import Final

from pacsless.capabilities import ACCEPT, ANNOTATION, Capability, Parameter
from pacsless.negotiation import Representation
from pacsless.rendering.parameters import MAX_SIDE
from pacsless.rendering.picture import PICTURES
from pacsless.rendering.report import REPORTS
from pacsless.representations import DOCUMENTS, VIDEOS

PARTS: Final = tuple(Representation(one.media_type, multipart=True) for one in PICTURES)

_OTHERS: Final = (*REPORTS, *(Representation(one) for one in (*DOCUMENTS, *VIDEOS)))

_PARAMETERS: Final = (
    ACCEPT,
    Parameter(
        "window",
        "Which values are shown: center,width and linear, linear-exact or sigmoid.",
        {"type": "string", "examples": ["40,400,linear"]},
    ),
    Parameter(
        "viewport",
        f"What the picture fits in, to {MAX_SIDE} pixels each way, and the region it shows:"
        " vw,vh or vw,vh,sx,sy,sw,sh.",
        {"type": "string", "examples": ["512,512"]},
    ),
    ANNOTATION,
    Parameter("quality", "Of JPEG.", {"type": "integer", "minimum": 1, "maximum": 100}),
    Parameter(
        "iccprofile",
        "Whether a colour profile is embedded in JPEG and PNG: the instance's own, or sRGB,"
        " to which colours are converted then.",
        {"type": "string", "enum": ["no", "yes", "srgb"]},
    ),
)


def rendered(level: str) -> Capability:
    """Pictures of a study, a series, an instance or frames."""
    summary = f"Retrieve Rendered {level}"
    if level in ("Study", "Series"):
        return Capability(summary, PARTS, _PARAMETERS, (406,))
    others = _OTHERS if level == "Instance" else ()
    return Capability(summary, PICTURES + PARTS + others, _PARAMETERS, (206, 304, 406, 416))


_OF_THUMBNAILS: Final = tuple(one for one in _PARAMETERS if one is not ANNOTATION)


def thumbnail(level: str) -> Capability:
    """One small picture."""
    return Capability(f"Retrieve {level} Thumbnail", PICTURES, _OF_THUMBNAILS, (304, 406))
