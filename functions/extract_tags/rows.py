"""Descriptions as rows of the tables: pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from functions.extract_tags.tags import Description, Tags, first, first_text
from pacsless.dicom import keys
from pacsless.errors import Unprocessable
from pacsless.events import InstanceStored, Json
from pacsless.identity import InstanceIdentity, SeriesIdentity

StudyKey = tuple[str, str]
"""Tenant and Study Instance UID."""


def _study_keys(attributes: Json) -> Json:
    """Search columns of a study row."""
    name = _groups(attributes, "00100010")
    referring = _groups(attributes, "00080090")
    return {
        "patient_id": keys.text_key(first_text(attributes, "00100020")),
        "patient_name": name[0],
        "patient_name_ideographic": name[1],
        "patient_name_phonetic": name[2],
        "patient_birth_date": _date(attributes, "00100030"),
        "patient_sex": keys.text_key(first_text(attributes, "00100040")),
        "study_date": _date(attributes, "00080020"),
        "study_time": keys.time_key(first_text(attributes, "00080030")),
        "accession_number": keys.text_key(first_text(attributes, "00080050")),
        "study_id": keys.text_key(first_text(attributes, "00200010")),
        "study_description": keys.text_key(first_text(attributes, "00081030")),
        "referring_physician_name": referring[0],
        "referring_physician_name_ideographic": referring[1],
        "referring_physician_name_phonetic": referring[2],
    }


def _series_keys(attributes: Json) -> Json:
    """Search columns of a series row."""
    return {
        "modality": keys.text_key(first_text(attributes, "00080060")),
        "series_number": keys.integer_key(first(attributes, "00200011")),
        "series_description": keys.text_key(first_text(attributes, "0008103E")),
        "body_part_examined": keys.text_key(first_text(attributes, "00180015")),
        "performed_procedure_step_start_date": _date(attributes, "00400244"),
        "performed_procedure_step_start_time": keys.time_key(first_text(attributes, "00400245")),
    }


def study_of(tags: Tags) -> StudyKey:
    """The study an instance belongs to."""
    return tags.identity.tenant_id, tags.identity.study_instance_uid


def study_key(key: StudyKey) -> Json:
    """Key columns of a study."""
    return {"tenant_id": key[0], "study_instance_uid": key[1]}


def series_key(series: SeriesIdentity) -> Json:
    """Key columns of a series."""
    return {
        "tenant_id": series.tenant_id,
        "study_instance_uid": series.study_instance_uid,
        "series_instance_uid": series.series_instance_uid,
    }


def description(one: Description) -> Json:
    """Columns that say how a level is described, and by which instance."""
    return {
        "described_by": one.described_by,
        "stated": one.stated,
        "attributes": one.attributes,
    }


def modality_of(one: Description) -> str:
    """Modality of a series as it is searched for; empty if it states none."""
    return keys.text_key(first_text(one.attributes, "00080060"))


def study_row(
    key: StudyKey, one: Description, patient_ids: list[str], modalities: Iterable[str] = ()
) -> Json:
    """Row of ``study``."""
    return (
        study_key(key)
        | _study_keys(one.attributes)
        | description(one)
        | {"patient_ids": patient_ids, "modalities": sorted(set(modalities) - {""})}
    )


def series_row(series: SeriesIdentity, one: Description, revision: int) -> Json:
    """Row of ``series``."""
    return (
        series_key(series)
        | _series_keys(one.attributes)
        | description(one)
        | {"revision": revision}
    )


def as_json(rows: Iterable[Json]) -> str:
    """Rows as the one parameter of a statement."""
    return json.dumps(list(rows), separators=(",", ":"))


def instance_key(one: InstanceIdentity) -> Json:
    """Key columns of an instance."""
    return series_key(one.series) | {"sop_instance_uid": one.sop_instance_uid}


def instance_row(event: InstanceStored, tags: Tags, revision: int, file_time: str) -> Json:
    """Row of ``instance``.

    Raises
    ------
    Unprocessable
        If the event does not say when the instance was received.
    """
    try:
        received = datetime.fromisoformat(event.received_at)
    except ValueError:
        raise Unprocessable("received-at", "ReceivedAt is no ISO 8601 time") from None
    received = received.replace(tzinfo=received.tzinfo or UTC).astimezone(UTC)
    return instance_key(tags.identity) | {
        "sop_class_uid": tags.sop_class_uid,
        "instance_number": tags.instance_number,
        "transfer_syntax_uid": event.transfer_syntax,
        "sha256": event.sha256,
        "file_size": event.file_size,
        "revision": revision,
        "received_at": received.isoformat(),
        "created_date": received.date().isoformat(),
        "file_time": file_time,
    }


def _groups(attributes: Json, tag: str) -> tuple[str, str, str]:
    value = first(attributes, tag)
    groups = value if isinstance(value, dict) else {}
    alphabetic, ideographic, phonetic = (
        keys.name_key(str(groups.get(group) or ""))
        for group in ("Alphabetic", "Ideographic", "Phonetic")
    )
    return alphabetic, ideographic, phonetic


def _date(attributes: Json, tag: str) -> str | None:
    found = keys.date_key(first_text(attributes, tag))
    return found.isoformat() if found else None
