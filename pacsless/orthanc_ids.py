"""Names that Orthanc gives to patients, studies, series and instances; pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}", re.ASCII)


def orthanc_id(patient_id: str, *uids: str) -> str:
    """Return the id of a patient, or of what these UIDs lead to below it.

    It is the SHA-1 of what identifies it, with ``|`` between, in five groups.

    Examples
    --------
    >>> orthanc_id("1CT1")
    'fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718'
    """
    return id_digest(patient_id, *uids).hex("-", 4)


def id_digest(patient_id: str, *uids: str) -> bytes:
    """Return what an id says."""
    text = "|".join((patient_id, *uids))
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def digest_of(text: str) -> bytes | None:
    """Read an id; None if it is none."""
    return bytes.fromhex(text.replace("-", "")) if _ID.fullmatch(text) else None
