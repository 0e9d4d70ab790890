"""The query of WADO-URI, read (PS3.18 §9.1.2, §9.4.1.2, §9.5.1.2).

Names are case-sensitive, what is not known is passed over, and an optional
parameter without a value is as good as none: forms send them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pacsless.errors import BadRequest
from pacsless.identity import valid_uid
from pacsless.negotiation import DICOM, parse_accept
from pacsless.rendering.parameters import (
    MAX_SIDE,
    QUALITY,
    Parameters,
    Viewport,
    Window,
    is_decimal,
    parse_annotation,
    parse_quality,
)

_UIDS: Final = ("studyUID", "seriesUID", "objectUID")
_LISTS: Final = ("contentType", "charset", "annotation", "imageAnnotation")
"""May be given more than once, as their values are lists."""
_SINGLE: Final = (
    "requestType",
    *_UIDS,
    "anonymize",
    "transferSyntax",
    "frameNumber",
    "imageQuality",
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "presentationSeriesUID",
    "presentationUID",
)
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_FORBIDDEN: Final = re.compile(r";\s*(?:transfer-syntax|charset)\s*=", re.IGNORECASE)

Region = tuple[float, float, float, float]
"""Left, top, right and bottom edge, as shares of the image."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    study: str
    series: str
    instance: str
    content_type: str = ""
    """Media types with their qualities, as in Accept; empty if none are named."""
    charset: str = ""
    anonymize: bool = False
    transfer_syntax: str = ""
    frame: int | None = None
    region: Region | None = None
    rows: int | None = None
    columns: int | None = None
    window: Window | None = None
    quality: int = QUALITY
    annotation: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    """Parameters whose values mean nothing here."""

    @property
    def is_dicom(self) -> bool:
        """Whether nothing but DICOM is asked for, so that the instance need not be looked at."""
        ranges = list(parse_accept(self.content_type))
        return bool(ranges) and all(one.media_type == DICOM and one.quality for one in ranges)

    def rendering(self, rows: int, columns: int) -> Parameters:
        """Return how to render an image of so many rows and columns."""
        return Parameters(self.window, self._viewport(rows, columns), self.quality, self.annotation)

    def _viewport(self, rows: int, columns: int) -> Viewport | None:
        if self.region is None and self.rows is None and self.columns is None:
            return None
        left, top, right, bottom = self.region or (0.0, 0.0, 1.0, 1.0)
        x, y = left * columns, top * rows
        # Floating numbers may come to a hair more than there is.
        width = min((right - left) * columns, columns - x)
        height = min((bottom - top) * rows, rows - y)
        if self.rows is None and self.columns is None:
            # One pixel for each of the region (PS3.18 §9.5.2.5).
            size = max(1, round(width)), max(1, round(height))
        else:
            # The one that is not given follows from the other.
            size = self.columns or MAX_SIDE, self.rows or MAX_SIDE
        return Viewport(*size, x, y, width, height)


def parse(given: Mapping[str, Sequence[str]]) -> Asked:
    """Read the parameters of a request.

    Raises
    ------
    BadRequest, InvalidIdentity
        If one is missing or malformed; the message says how it is written.
    """
    values = {name: _single(name, given) for name in _SINGLE}
    lists = {name: [one for one in given.get(name, ()) if one] for name in _LISTS}
    if values["requestType"] != "WADO":
        raise BadRequest("request-type", "the query has no requestType=WADO")
    for name in _UIDS:
        if not values[name]:
            raise BadRequest("missing", f"the query has no {name}")
        valid_uid(values[name], name)
    if values["anonymize"] not in ("", "yes"):
        raise BadRequest("anonymize", "the parameter anonymize is yes or not given")
    annotation, unknown = parse_annotation(lists["annotation"] + lists["imageAnnotation"])
    if values["anonymize"] and annotation:
        # The technique has the study's date, which the profile takes away.
        raise BadRequest("anonymize", "what is anonymized cannot be annotated")
    if values["presentationUID"] or values["presentationSeriesUID"]:
        raise BadRequest(
            "presentation", "presentation states are not applied: ask without presentationUID"
        )
    if values["transferSyntax"]:
        valid_uid(values["transferSyntax"], "transferSyntax")
    return Asked(
        values["studyUID"],
        values["seriesUID"],
        values["objectUID"],
        content_type=_content_type(lists["contentType"]),
        charset=",".join(lists["charset"]),
        anonymize=bool(values["anonymize"]),
        transfer_syntax=values["transferSyntax"],
        frame=_number("frameNumber", values),
        region=_region(values["region"]),
        rows=_side("rows", values),
        columns=_side("columns", values),
        window=_window(values["windowCenter"], values["windowWidth"]),
        quality=parse_quality(values["imageQuality"], "imageQuality")
        if values["imageQuality"]
        else QUALITY,
        annotation=annotation,
        unsupported=("annotation",) if unknown else (),
    )


def _single(name: str, given: Mapping[str, Sequence[str]]) -> str:
    values = given.get(name, ())
    if len(values) > 1:
        raise BadRequest("twice", f"the parameter {name} is given more than once")
    return values[0] if values else ""


def _content_type(values: Sequence[str]) -> str:
    text = ",".join(values)
    if _FORBIDDEN.search(text):
        # PS3.18 §9.1.2.2.1: they are parameters of the query, not of the media type.
        raise BadRequest(
            "content-type", "a contentType has no parameters here: see transferSyntax and charset"
        )
    if text and not any(parse_accept(text)):
        raise BadRequest(
            "content-type", "the parameter contentType names media types: image/jpeg,image/png"
        )
    return text


def _number(name: str, values: Mapping[str, str]) -> int | None:
    text = values[name]
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise BadRequest("number", f"the parameter {name} is a whole number from 1")
    return int(text)


def _side(name: str, values: Mapping[str, str]) -> int | None:
    number = _number(name, values)
    if number is not None and number > MAX_SIDE:
        raise BadRequest("viewport", f"the parameter {name} is {MAX_SIDE} at most")
    return number


def _region(text: str) -> Region | None:
    if not text:
        return None
    fields = text.split(",", 4)
    if len(fields) != 4 or not all(map(is_decimal, fields)):
        raise BadRequest("region", "a region is region=xmin,ymin,xmax,ymax")
    left, top, right, bottom = map(float, fields)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadRequest("region", "a region is within 0.0,0.0,1.0,1.0 and not empty")
    return left, top, right, bottom


def _window(center: str, width: str) -> Window | None:
    if not center and not width:
        return None
    if not center or not width:
        raise BadRequest("window", "the parameters windowCenter and windowWidth are given together")
    if not is_decimal(center) or not is_decimal(width):
        raise BadRequest(
            "window", "the parameters windowCenter and windowWidth are decimal numbers"
        )
    window = Window(float(center), float(width))
    if not window.is_valid:
        raise BadRequest("window", "the parameter windowWidth is at least 1")
    return window
