"""What an indexed batch has to tell: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from functions.extract_tags.tags import Tags
from pacsless.dicom.levels import PATIENT, SERIES, STUDY, Attribute
from pacsless.events import (
    Event,
    InstanceConversionRequested,
    InstanceIndexed,
    InstanceStored,
    Json,
    SeriesRevised,
)

_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_PIXEL_DATA: Final = frozenset({"7FE00008", "7FE00009", "7FE00010"})

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
    """What becomes known of one instance, and the rendition it needs."""
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
    return found


def series_revised(row: Sequence[Any]) -> SeriesRevised:
    """A row of `sql.STATES` as the event of its series."""
    (tenant, study, series, revision, updated_at, series_attributes, study_attributes,
     instances, size, study_series, study_instances, study_size, study_revision) = row  # fmt: skip
    return SeriesRevised(
        tenant_id=tenant,
        study_instance_uid=study,
        series_instance_uid=series,
        revision=int(revision),
        study_revision=int(study_revision),
        updated_at=iso_time(updated_at),
        number_of_series_related_instances=int(instances),
        number_of_study_related_series=int(study_series),
        number_of_study_related_instances=int(study_instances),
        series_bytes=int(size),
        study_bytes=int(study_size),
        patient=keyword_values(study_attributes, PATIENT),
        study=keyword_values(study_attributes, STUDY),
        series=keyword_values(series_attributes, SERIES),
    )


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


def keyword_values(attributes: Json, level: Mapping[str, Attribute]) -> Json:
    """Attributes of a level as keyword and value, as SQL tables like them.

    Several values are joined by a backslash and the component groups of a name
    by ``=``, as in the data set; sequences and empty attributes are left out.
    """
    found = {}
    for tag, attribute in level.items():
        values = attributes.get(tag, {}).get("Value")
        if not values or attribute.vr == "SQ":
            continue
        plain = [_name(one) if isinstance(one, dict) else one for one in values]
        if len(plain) == 1 and plain[0] is not None:
            found[attribute.keyword] = plain[0]
        elif len(plain) > 1:
            found[attribute.keyword] = "\\".join("" if one is None else str(one) for one in plain)
    return found


def _name(groups: Json) -> str:
    parts = (str(groups.get(one) or "") for one in ("Alphabetic", "Ideographic", "Phonetic"))
    return "=".join(parts).rstrip("=")


def iso_time(moment: datetime) -> str:
    """A moment as events state it."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
