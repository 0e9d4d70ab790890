"""One frame of one instance as a picture; only that frame is read and decoded."""

from __future__ import annotations

from typing import Final

from pacsless.errors import NotFound
from pacsless.rendering.annotation import annotate
from pacsless.rendering.colour import profiled
from pacsless.rendering.opened import Opened
from pacsless.rendering.parameters import Parameters
from pacsless.rendering.picture import draw, encode, shrunk
from pacsless.rendering.pipeline import show

THUMBNAIL: Final = 128
"""Pixels of a thumbnail's longer side, unless a viewport says otherwise."""

_IDENTIFYING: Final = ("BurnedInAnnotation", "RecognizableVisualFeatures")


def render(
    opened: Opened, frame: int, parameters: Parameters, media_type: str, *, thumbnail: bool
) -> bytes:
    """Render one frame to a file of `media_type`.

    Raises
    ------
    NotFound
        If there is no such frame, or a thumbnail would show who the patient is.
    Unavailable
        If others are rendering, and it takes too long.
    """
    image, header = opened.image, opened.header
    viewport = parameters.viewport
    if thumbnail:
        if any("YES" in header.codes(keyword) for keyword in _IDENTIFYING):
            # PS3.18 §10.4.3.3.4: no thumbnail identifies the patient.
            raise NotFound(
                "identifying", "the image may show who the patient is: it has no thumbnail"
            )
        viewport = shrunk(viewport, image.rows, image.columns, THUMBNAIL)
    drawn = viewport.width * viewport.height if viewport else 0
    with opened.decoded(frame, drawn=drawn) as (samples, photometric):
        shown = show(samples, photometric, image, header, frame=frame, window=parameters.window)
        del samples
        picture, profile = profiled(
            draw(shown, viewport), header, opened.file, parameters.icc_profile
        )
        if not thumbnail:
            picture = annotate(picture, header, frame, parameters.annotation)
        return encode(picture, media_type, parameters.quality, profile)
