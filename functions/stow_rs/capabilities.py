"""What the routes of STOW-RS can, for those who ask."""

from __future__ import annotations

from typing import Final

from pacsless.capabilities import ACCEPT, Body, Capability
from pacsless.negotiation import DICOM, Representation

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"

BODIES: Final = (
    *(Representation(one, multipart=True) for one in (DICOM, JSON, XML)),
    Representation(DICOM),
)
"""What instances may be sent as."""
ANSWERS: Final = (Representation(JSON), Representation("application/json"), Representation(XML))
"""What the outcome is sent as, best first."""

_BODY: Final = Body(
    "PS3.10 files, one a part; or attributes in the DICOM JSON Model or the Native DICOM Model, "
    "with parts of bulk data whose Content-Location is a BulkDataURI of theirs.",
    BODIES,
)
_STATUSES: Final = (202, 406, 408, 409, 413, 415)
_OUTCOME: Final = {"$ref": "#/components/schemas/DicomJsonModel"}

STUDIES: Final = Capability("Store Instances", ANSWERS, (ACCEPT,), _STATUSES, _OUTCOME, _BODY)
STUDY: Final = Capability(
    "Store Instances of Study", ANSWERS, (ACCEPT,), _STATUSES, _OUTCOME, _BODY
)

ORTHANC: Final = Capability(
    "Store Orthanc Instance",
    (Representation("application/json"),),
    (),
    (408, 409, 413, 415),
    {"type": "object"},
    Body("A PS3.10 file.", (Representation(DICOM),)),
)


def delete(level: str) -> Capability:
    """Describe deleting what is of a level; 405 unless it is turned on."""
    return Capability(f"Delete {level}", (), (), (204, 405))
