"""Text burned into pictures: who the patient is, and how the image was made (PS3.18 §8.3.5.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from PIL import ImageDraw, ImageFont
from PIL.Image import Image

from pacsless.dicom.dataset import Header
from pacsless.rendering.image import numbers
from pacsless.rendering.parameters import ANNOTATIONS

_PATIENT, _TECHNIQUE = ANNOTATIONS
_LONGEST: Final = 64
"""Characters of a line: a hostile value is drawn no longer than a picture is wide."""
_LINES: Final = 32
"""Lines of text that would fill a picture, by which their size is chosen."""
_SMALLEST: Final = 9


def annotate(picture: Image, header: Header, frame: int, annotations: Sequence[str]) -> Image:
    """Return a picture with text in its corners: the patient above, the technique below.

    Characters that the font lacks, such as those of ideographic names, are
    question marks.
    """
    if not annotations:
        return picture
    drawing = ImageDraw.Draw(picture)
    font = _font(max(_SMALLEST, min(picture.size) // _LINES))
    bright, dark = (255, 0) if picture.mode == "L" else ((255, 255, 255), (0, 0, 0))
    for annotation, anchor, y in ((_PATIENT, "la", 2), (_TECHNIQUE, "ld", picture.height - 2)):
        if annotation in annotations:
            lines = _patient(header) if annotation == _PATIENT else _technique(header, frame)
            text = "\n".join(_printable(line) for line in lines if line)
            drawing.multiline_text(
                (2, y), text, bright, font, anchor, stroke_width=1, stroke_fill=dark
            )
    return picture


@lru_cache(8)  # reading a font takes longer than writing with it
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _patient(header: Header) -> list[str]:
    name = _value(header, "PatientName").partition("=")[0].replace("^", " ").strip()
    return [
        name,
        _named("ID", _value(header, "PatientID")),
        _named("born", _date(_value(header, "PatientBirthDate"))),
        _named("sex", _value(header, "PatientSex")),
    ]


def _technique(header: Header, frame: int) -> list[str]:
    numbered = (
        ("series", _value(header, "SeriesNumber")),
        ("image", _value(header, "InstanceNumber")),
        ("frame", str(frame) if numbers(header, "NumberOfFrames") else ""),
    )
    position = " ".join(f"{one:.1f}" for one in numbers(header, "ImagePositionPatient"))
    return [
        _joined((_value(header, "Modality"), _date(_value(header, "StudyDate")))),
        _joined(_named(label, value) for label, value in numbered),
        _named("position", position),
    ]


def _value(header: Header, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _named(label: str, value: str) -> str:
    return f"{label} {value}" if value else ""


def _joined(texts: Iterable[str]) -> str:
    return "  ".join(text for text in texts if text)


def _printable(line: str) -> str:
    text = line[:_LONGEST].encode("latin-1", "replace").decode("latin-1")
    return "".join(character if character.isprintable() else "?" for character in text)
