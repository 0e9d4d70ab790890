"""What was in OHIF's viewport (``viewer/tests/ohif.mjs``), held against what is stored."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut

Pixels = np.ndarray[Any, Any]
LIKE = 0.98
"""Correlation of a frame with its picture: windowed, resized to the screen and back."""


def picture(look: Mapping[str, Any]) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(look["png"]))).convert("RGB")


def shown(*data_sets: Dataset) -> dict[str, Pixels]:
    """What is to be seen of each frame, by the end of its address."""
    frames: dict[str, Pixels] = {}
    for ds in data_sets:
        count = int(ds.get("NumberOfFrames") or 1)
        pixels = apply_voi_lut(ds.pixel_array, ds)
        for number, frame in enumerate(pixels if count > 1 else [pixels], 1):
            frames[f"{ds.SOPInstanceUID}/frames/{number}"] = frame
    return frames


def cut_out(image: Image.Image, rows: int, columns: int) -> Pixels:
    """The picture in the middle of the viewport, which it fills in one direction."""
    scale = min(image.width / columns, image.height / rows)
    left, top = (image.width - columns * scale) / 2, (image.height - rows * scale) / 2
    box = (left, top, image.width - left, image.height - top)
    return np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, box))


def likeness(seen: Pixels, frame: Pixels) -> float:
    """Correlation over all three channels."""
    colours = frame if frame.ndim == 3 else np.stack([frame] * 3, axis=-1)
    return float(np.corrcoef(seen.ravel(), colours.ravel())[0, 1])


def assert_looks_like(
    looks: Sequence[Mapping[str, Any]], frames: Mapping[str, Pixels]
) -> list[str]:
    """Each look shows the frame it says, and that more than any other; return which they were."""
    names = []
    for look in looks:
        name = str(look["image"]).rpartition("/instances/")[2]
        seen = cut_out(picture(look), *frames[name].shape[:2])
        alike = {one: likeness(seen, frame) for one, frame in frames.items()}
        assert alike[name] > LIKE, (name, alike)
        assert max(alike, key=alike.__getitem__) == name, (name, alike)
        assert look["levels"] > 16
        names.append(name)
    assert len(set(names)) == len(names), names
    return names


def assert_reads(look: Mapping[str, Any], pdf: bytes) -> None:
    """The browser's own reader got this document of ``make_pdf``, and has drawn its page."""
    assert look["type"] == "application/pdf"
    assert base64.b64decode(look["bytes"]).rstrip(b"\0") == pdf
    pixels = np.asarray(picture(look)).astype(int)
    teal = np.all(np.abs(pixels - (0, 128, 153)) < 16, axis=-1)
    assert teal.mean() > 0.1
    assert np.all(pixels > 240, axis=-1).mean() > 0.1, "paper"
    # Below the teal, as wide as it is.
    end = np.flatnonzero(teal.any(axis=1)).max() + 1
    columns = np.flatnonzero(teal[end - 10])
    paper = pixels[end:, columns.min() : columns.max()]
    assert 0.001 < np.all(paper < 64, axis=-1).mean() < 0.1, "letters"
