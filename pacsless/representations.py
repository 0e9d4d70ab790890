"""What attributes and encapsulated documents are sent as (PS3.18 §8.7.3.2, §8.7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from pacsless.dicom.dataset import Header
from pacsless.dicom.native_model import to_native_model
from pacsless.dicom.transfer_syntaxes import STORABLE, lookup
from pacsless.errors import Unprocessable
from pacsless.multipart import Multipart, Part
from pacsless.negotiation import Representation
from pacsless.strict_json import loads

_NATIVE_MODEL: Final = "application/dicom+xml"

ATTRIBUTES: Final = (
    Representation("application/dicom+json"),
    Representation("application/json"),
    Representation(_NATIVE_MODEL, multipart=True),
)
"""Best first: who asks for nothing in particular gets DICOM JSON."""

VIDEOS: Final = tuple(sorted({lookup(uid).media_type for uid in STORABLE if lookup(uid).is_video}))

DOCUMENTS: Final = ("application/pdf", "model/mtl", "model/obj", "model/stl")
"""Encapsulated documents that come under their own media type, too.

(0042,0012) says what a document is, and is as hostile as its sender: HTML or
SVG under their own type would run as a page of ours.
"""


def document_type(header: Header) -> str:
    """Return the media type an encapsulated document may be shown under, or ``""``."""
    said = str(header.get("MIMETypeOfEncapsulatedDocument") or "").strip().lower()
    return said if said in DOCUMENTS else ""


def native_models(entries: Iterable[bytes]) -> Multipart:
    """Make a body of Native DICOM Models, one part for each instance or match.

    Each entry is read when its part is sent, so no more than one is held.

    Parameters
    ----------
    entries
        A DICOM JSON object each.

    Raises
    ------
    Unprocessable
        While the body is read, if an entry is not DICOM JSON. The body then has
        no end, by which a client knows.
    """
    return Multipart(
        (Part(_NATIVE_MODEL, None, partial(_native_model, entry)) for entry in entries),
        _NATIVE_MODEL,
    )


def _native_model(entry: bytes) -> Iterator[bytes]:
    try:
        yield from to_native_model(loads(entry))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # A library's message may quote a value.
        raise Unprocessable("damaged", "a stored metadata entry is not DICOM JSON") from None
