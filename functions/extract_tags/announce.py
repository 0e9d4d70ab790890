"""What an indexed batch has to tell: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from functions.extract_tags.tags import Tags, first
from pacsless.dicom.frame_index import wants_index
from pacsless.events import (
    Event,
    InstanceConversionRequested,
    InstanceFrameIndexRequested,
    InstanceIndexed,
    InstanceStored,
    Json,
)

_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_PIXEL_DATA: Final = frozenset({"7FE00008", "7FE00009", "7FE00010"})
_NUMBER_OF_FRAMES: Final = "00280008"

_CONVERSIONS: Final = {_BIG_ENDIAN: "big-endian", _DEFLATED: "deflated-data-set"}
"""The plain cases: transfer syntaxes no viewer reads, and why (PS3.5 §A.3, §A.5).

Implicit VR Little Endian is not among them: the bytes of its native Pixel Data
are those of Explicit VR Little Endian (PS3.5 §8.2 keeps OW and OB alike on a
little endian stream), so wado_rs sends its frames labelled as the latter."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance in the ledger."""

    revision: int
    sha256: str
    created_date: str
    received_at: str


def instance_events(event: InstanceStored, tags: Tags, entry: Entry) -> list[Event]:
    """What becomes known of one instance, and the rendition or index it needs."""
    which = {
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
    }
    found: list[Event] = [
        InstanceIndexed(
            **which,
            revision=entry.revision,
            sha256=entry.sha256,
            created_date=entry.created_date,
            received_at=entry.received_at,
            transfer_syntax=event.transfer_syntax,
            file_size=event.file_size,
            dicom_json=tags.dicom_json,
        )
    ]
    if wanted := conversion(tags.dicom_json, event.transfer_syntax):
        found.append(
            InstanceConversionRequested(
                **which,
                sha256=entry.sha256,
                transfer_syntax=event.transfer_syntax,
                target_transfer_syntax=wanted[0],
                reason=wanted[1],
            )
        )
    if has_frames_to_find(tags.dicom_json, event.transfer_syntax):
        found.append(InstanceFrameIndexRequested(**which, sha256=entry.sha256))
    return found


def has_frames_to_find(document: Json, transfer_syntax: str) -> bool:
    """Whether readers need an index of the frames (PS3.5 §A.4)."""
    frames = first(document, _NUMBER_OF_FRAMES)
    several = isinstance(frames, int) and frames > 1
    return several and wants_index(transfer_syntax) and not _PIXEL_DATA.isdisjoint(document)


def conversion(document: Json, transfer_syntax: str) -> tuple[str, str] | None:
    """Whether viewers need a rendition.

    Returns
    -------
    tuple or None
        Target transfer syntax and reason.
    """
    reason = _CONVERSIONS.get(transfer_syntax)
    if reason is None or _PIXEL_DATA.isdisjoint(document):
        return None
    return _EXPLICIT, reason
