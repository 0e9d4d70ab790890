"""Patient, study and series as the index has them, and the event that says so.

extract_tags tells it of what it has just changed, a sweep of what somebody has
missed: the same rows make the same event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pacsless.dicom.levels import PATIENT, SERIES, STUDY, Attribute
from pacsless.events import Json, SeriesRevised
from pacsless.identity import SeriesIdentity
from pacsless.times import iso_time

_SERIES: Final = "tenant_id, study_instance_uid, series_instance_uid"

STATES: Final = f"""
WITH since AS (
    SELECT tenant_id, study_instance_uid, revision
    FROM json_populate_recordset(NULL::series, CAST(:rows AS json))
), summed AS (
    SELECT {_SERIES}, series.revision, series.updated_at, series.attributes,
        series.instances, series.bytes, count(*) OVER study AS study_series,
        (sum(series.instances) OVER study)::bigint AS study_instances,
        (sum(series.bytes) OVER study)::bigint AS study_bytes,
        max(series.revision) OVER study AS study_revision
    FROM series JOIN since USING (tenant_id, study_instance_uid)
    WHERE series.instances > 0
    WINDOW study AS (PARTITION BY tenant_id, study_instance_uid)
)
SELECT {_SERIES}, summed.revision, summed.updated_at, summed.attributes, study.attributes,
    summed.instances, summed.bytes, summed.study_series, summed.study_instances,
    summed.study_bytes, summed.study_revision
FROM summed
JOIN study USING (tenant_id, study_instance_uid)
JOIN since USING (tenant_id, study_instance_uid)
WHERE summed.revision >= since.revision
ORDER BY {_SERIES}
"""  # noqa: S608  every part is a constant of this module; values are parameters
"""Series of studies, of those that have changed since a revision: ``rows`` is a JSON
array of objects with ``tenant_id``, ``study_instance_uid`` and ``revision``."""


def series_revised(row: Sequence[Any]) -> SeriesRevised:
    """A row of `STATES` as the event of its series."""
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


def series_gone(
    series: SeriesIdentity,
    revision: int,
    updated_at: str,
    *,
    study_series: int,
    study_revision: int,
) -> SeriesRevised:
    """Make the event of a series that has no instances any more.

    Parameters
    ----------
    series
        Which.
    revision, updated_at
        Of its last deletion.
    study_series
        How many series its study still has.
    study_revision
        Of the last deletion in its study.
    """
    return SeriesRevised(
        tenant_id=series.tenant_id,
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        revision=revision,
        study_revision=study_revision,
        updated_at=updated_at,
        number_of_series_related_instances=0,
        number_of_study_related_series=study_series,
        # Those of a study that is left are in the events of its other series.
        number_of_study_related_instances=0,
        series_bytes=0,
        study_bytes=0,
        patient={},
        study={},
        series={},
    )


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
