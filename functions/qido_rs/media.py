"""Which JSON to answer with: the Accept header, pure."""

from __future__ import annotations

import re
from typing import Final

from pacsless.errors import NotAcceptable

DICOM_JSON: Final = "application/dicom+json"
JSON: Final = "application/json"
_RANGES: Final = {
    DICOM_JSON: DICOM_JSON,
    "application/*": DICOM_JSON,
    "*/*": DICOM_JSON,
    JSON: JSON,
}
_QUALITY: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)


def choose(accept: str | None) -> str:
    """Return the media type to answer with.

    ``application/dicom+json`` is the default of a search (PS3.18 §8.7.3.2); its
    XML form, one part a result, is optional and not made here.

    Raises
    ------
    NotAcceptable
        If neither JSON is accepted.
    """
    best, best_quality = "", 0.0
    for one in (accept or "*/*").split(","):
        media_range, *parameters = (part.strip().lower() for part in one.split(";"))
        found = _RANGES.get(media_range)
        quality = _quality(parameters)
        better = quality > best_quality or (quality == best_quality and found == DICOM_JSON)
        if found and quality and better:
            best, best_quality = found, quality
    if not best:
        raise NotAcceptable("accept", f"a search answers {DICOM_JSON} or {JSON}")
    return best


def _quality(parameters: list[str]) -> float:
    for one in parameters:
        name, _, value = one.partition("=")
        if name.strip() == "q" and _QUALITY.fullmatch(value.strip()):
            return float(value)
    return 1.0
