"""What the routes of WADO-RS can, for those who ask: the representations of each."""

from __future__ import annotations

from typing import Final

from pacsless.capabilities import ACCEPT, DICOM_JSON, Capability
from pacsless.dicom.transfer_syntaxes import STORABLE, lookup
from pacsless.negotiation import DICOM, OCTET_STREAM, Representation
from pacsless.representations import ATTRIBUTES, DOCUMENTS, VIDEOS

_DICOM: Final = Representation(DICOM, multipart=True)
_DICOM_ALONE: Final = Representation(DICOM)
_SYNTAXES: Final = [lookup(uid) for uid in STORABLE]
# As `frame_offers` has them: octet stream before what the frames are stored as.
_FRAMES: Final = (
    OCTET_STREAM,
    *sorted({one.media_type for one in _SYNTAXES if not one.is_video} - {OCTET_STREAM}),
)


def _both(*media_types: str) -> tuple[Representation, ...]:
    return tuple(
        Representation(media_type, multipart=multipart)
        for multipart in (True, False)
        for media_type in media_types
    )


_RANGES: Final = (206, 304, 406, 416)

STUDY: Final = Capability("Retrieve Study", (_DICOM,), (ACCEPT,), (406,))
SERIES: Final = Capability("Retrieve Series", (_DICOM,), (ACCEPT,), (406,))
INSTANCE: Final = Capability("Retrieve Instance", (_DICOM, _DICOM_ALONE), (ACCEPT,), _RANGES)
FRAMES: Final = Capability("Retrieve Frames", _both(*_FRAMES), (ACCEPT,), _RANGES)
BULK_DATA: Final = Capability(
    "Retrieve Bulkdata", _both(*_FRAMES, *VIDEOS, *DOCUMENTS), (ACCEPT,), _RANGES
)


def metadata(level: str) -> Capability:
    """Metadata of a study, a series or an instance."""
    summary = f"Retrieve {level} Metadata"
    return Capability(summary, ATTRIBUTES, (ACCEPT,), (304, 406), DICOM_JSON)
