"""The statements of the index. Rows come as one JSON parameter each, typed by the table."""

# ruff: noqa: S608  every part is a constant of this module; values are parameters

from __future__ import annotations

from typing import Final

_DESCRIPTION: Final = "described_by, stated, attributes"
_STUDY_KEYS: Final = (
    "patient_id, patient_ids, patient_name, patient_name_ideographic, patient_name_phonetic,"
    " patient_birth_date, patient_sex, study_date, study_time, accession_number, study_id,"
    " study_description, referring_physician_name, referring_physician_name_ideographic,"
    " referring_physician_name_phonetic"
)
_SERIES_KEYS: Final = (
    "modality, series_number, series_description, body_part_examined,"
    " performed_procedure_step_start_date, performed_procedure_step_start_time"
)
_SERIES: Final = "tenant_id, study_instance_uid, series_instance_uid"
_INSTANCE: Final = f"{_SERIES}, sop_instance_uid"
_LEDGER: Final = "sop_class_uid, instance_number, transfer_syntax_uid, sha256, file_size"


def _rows(table: str) -> str:
    return f"json_populate_recordset(NULL::{table}, CAST(:rows AS json))"


def _new(columns: str) -> str:
    return ", ".join(f"new.{column.strip()}" for column in columns.split(","))


NEXT_REVISION: Final = "SELECT nextval('revision')"

# What is no better than the row there is never reaches ON CONFLICT, which would
# lock the row: the patients of a busy morning are shared by many batches.
UPSERT_PATIENTS: Final = f"""
INSERT INTO patient (tenant_id, patient_id, {_DESCRIPTION})
SELECT tenant_id, patient_id, {_DESCRIPTION}
FROM {_rows("patient")} AS new
WHERE NOT EXISTS (
    SELECT FROM patient AS old
    WHERE old.tenant_id = new.tenant_id AND old.patient_id = new.patient_id
      AND (-old.stated, old.described_by) <= (-new.stated, new.described_by))
ORDER BY tenant_id, patient_id
ON CONFLICT (tenant_id, patient_id) DO UPDATE
SET described_by = EXCLUDED.described_by, stated = EXCLUDED.stated,
    attributes = EXCLUDED.attributes
WHERE (-EXCLUDED.stated, EXCLUDED.described_by) < (-patient.stated, patient.described_by)
"""

# The words of names are made before ON CONFLICT looks: a study that is there, which
# nearly every batch has, must not come that far.
INSERT_STUDIES: Final = f"""
INSERT INTO study (tenant_id, study_instance_uid, modalities, {_STUDY_KEYS}, {_DESCRIPTION})
SELECT tenant_id, study_instance_uid, modalities, {_STUDY_KEYS}, {_DESCRIPTION}
FROM {_rows("study")} AS new
WHERE NOT EXISTS (
    SELECT FROM study AS old
    WHERE old.tenant_id = new.tenant_id AND old.study_instance_uid = new.study_instance_uid)
ORDER BY tenant_id, study_instance_uid
ON CONFLICT DO NOTHING
"""

LOCK_STUDIES: Final = f"""
SELECT tenant_id, study_instance_uid, study.patient_ids, study.described_by, study.stated,
    study.attributes
FROM study JOIN {_rows("study")} AS new USING (tenant_id, study_instance_uid)
ORDER BY tenant_id, study_instance_uid
FOR NO KEY UPDATE OF study
"""

UPDATE_STUDIES: Final = f"""
UPDATE study SET ({_STUDY_KEYS}, {_DESCRIPTION}) = ({_new(_STUDY_KEYS)}, {_new(_DESCRIPTION)})
FROM {_rows("study")} AS new
WHERE study.tenant_id = new.tenant_id AND study.study_instance_uid = new.study_instance_uid
"""

DESCRIBE_STUDIES: Final = f"""
UPDATE study SET (described_by, stated, patient_ids)
    = (new.described_by, new.stated, new.patient_ids)
FROM {_rows("study")} AS new
WHERE study.tenant_id = new.tenant_id AND study.study_instance_uid = new.study_instance_uid
"""
"""Where the attributes are the same: no word of a name is made anew, and no index written."""

INSERT_SERIES: Final = f"""
INSERT INTO series ({_SERIES}, {_SERIES_KEYS}, {_DESCRIPTION}, revision)
SELECT {_SERIES}, {_SERIES_KEYS}, {_DESCRIPTION}, revision
FROM {_rows("series")}
ORDER BY {_SERIES}
ON CONFLICT DO NOTHING
RETURNING tenant_id, study_instance_uid
"""

READ_SERIES: Final = f"""
SELECT {_SERIES}, series.described_by, series.stated, series.attributes
FROM series JOIN {_rows("series")} AS new USING ({_SERIES})
"""

UPDATE_MODALITIES: Final = f"""
UPDATE study SET modalities = now.modalities
FROM {_rows("study")} AS new, LATERAL (
    SELECT COALESCE(array_agg(DISTINCT modality), '{{}}') AS modalities FROM series
    WHERE series.tenant_id = new.tenant_id
      AND series.study_instance_uid = new.study_instance_uid AND modality <> ''
) AS now
WHERE study.tenant_id = new.tenant_id AND study.study_instance_uid = new.study_instance_uid
  AND study.modalities <> now.modalities
"""
"""After the series; nothing is written if INSERT_STUDIES knew them all."""

UPDATE_SERIES: Final = f"""
UPDATE series SET ({_SERIES_KEYS}, {_DESCRIPTION}) = ({_new(_SERIES_KEYS)}, {_new(_DESCRIPTION)})
FROM {_rows("series")} AS new
WHERE series.tenant_id = new.tenant_id AND series.study_instance_uid = new.study_instance_uid
  AND series.series_instance_uid = new.series_instance_uid
"""

INSERT_INSTANCES: Final = f"""
WITH new AS (
    SELECT * FROM {_rows("instance")}
), inserted AS (
    INSERT INTO instance ({_INSTANCE}, {_LEDGER}, revision, received_at, created_date, file_time)
    SELECT {_INSTANCE}, {_LEDGER}, revision, received_at, created_date, file_time FROM new
    ORDER BY {_INSTANCE}
    ON CONFLICT DO NOTHING
    RETURNING {_INSTANCE}, revision, sha256, created_date, received_at, file_time
), recorded AS (
    INSERT INTO change ({_INSTANCE}, revision, action)
    SELECT {_INSTANCE}, revision, 'create' FROM inserted
)
SELECT * FROM inserted
UNION ALL
SELECT {_INSTANCE}, old.revision, old.sha256, old.created_date, old.received_at, old.file_time
FROM instance AS old JOIN new USING ({_INSTANCE})
"""
"""The second half sees the table as it was before the first: together they are every row.
Only what the first half adds is a change for the feed, so a replay adds none."""

UPDATE_INSTANCES: Final = f"""
WITH updated AS (
    UPDATE instance SET ({_LEDGER}, revision) = ({_new(_LEDGER)}, new.revision)
    FROM {_rows("instance")} AS new
    WHERE instance.tenant_id = new.tenant_id
      AND instance.study_instance_uid = new.study_instance_uid
      AND instance.series_instance_uid = new.series_instance_uid
      AND instance.sop_instance_uid = new.sop_instance_uid
    RETURNING new.*
)
INSERT INTO change ({_INSTANCE}, revision, action)
SELECT {_INSTANCE}, revision, 'update' FROM updated
"""

TOUCH_SERIES: Final = f"""
UPDATE series SET revision = :revision, updated_at = now()
FROM {_rows("series")} AS new
WHERE series.tenant_id = new.tenant_id AND series.study_instance_uid = new.study_instance_uid
  AND series.series_instance_uid = new.series_instance_uid AND series.revision <> :revision
"""

TOUCH_STUDIES: Final = f"""
UPDATE series SET revision = :revision, updated_at = now()
FROM {_rows("study")} AS new
WHERE series.tenant_id = new.tenant_id AND series.study_instance_uid = new.study_instance_uid
  AND series.revision <> :revision
"""

REMOVE_INSTANCES: Final = f"""
WITH removed AS (
    DELETE FROM instance USING {_rows("instance")} AS new
    WHERE instance.tenant_id = new.tenant_id
      AND instance.study_instance_uid = new.study_instance_uid
      AND instance.series_instance_uid = new.series_instance_uid
      AND instance.sop_instance_uid = new.sop_instance_uid
      AND (new.file_time IS NULL OR instance.file_time IS DISTINCT FROM new.file_time)
    RETURNING instance.*
), recorded AS (
    INSERT INTO change ({_INSTANCE}, revision, action, created_date, received_at)
    SELECT {_INSTANCE}, :revision, 'delete', created_date, received_at FROM removed
)
SELECT {_INSTANCE} FROM removed
"""
"""Where a file time is given, only rows that are not about that file."""

REMOVE_SERIES: Final = f"""
DELETE FROM series USING {_rows("series")} AS new
WHERE series.tenant_id = new.tenant_id AND series.study_instance_uid = new.study_instance_uid
  AND series.series_instance_uid = new.series_instance_uid
  AND NOT EXISTS (
    SELECT FROM instance AS one WHERE one.tenant_id = series.tenant_id
      AND one.study_instance_uid = series.study_instance_uid
      AND one.series_instance_uid = series.series_instance_uid)
RETURNING series.tenant_id, series.study_instance_uid
"""

REMOVE_STUDIES: Final = f"""
DELETE FROM study USING {_rows("study")} AS new
WHERE study.tenant_id = new.tenant_id AND study.study_instance_uid = new.study_instance_uid
  AND NOT EXISTS (
    SELECT FROM series AS one WHERE one.tenant_id = study.tenant_id
      AND one.study_instance_uid = study.study_instance_uid)
RETURNING study.tenant_id, study.study_instance_uid
"""

REMOVE_PATIENTS: Final = f"""
DELETE FROM patient USING {_rows("patient")} AS new
WHERE patient.tenant_id = new.tenant_id AND patient.patient_id = new.patient_id
  AND NOT EXISTS (
    SELECT FROM study WHERE study.tenant_id = patient.tenant_id
      AND study.patient_id = patient.patient_id)
  AND NOT EXISTS (
    SELECT FROM study AS conflict WHERE conflict.tenant_id = patient.tenant_id
      AND cardinality(conflict.patient_ids) > 1
      AND patient.patient_id = ANY (conflict.patient_ids))
RETURNING patient.tenant_id, patient.patient_id
"""
"""Those of whom there is no study."""

FORGET_ORTHANC_IDS: Final = """
DELETE FROM orthanc_id
USING json_to_recordset(CAST(:rows AS json)) AS new(tenant_id text, orthanc_id bytea)
WHERE orthanc_id.tenant_id = new.tenant_id AND orthanc_id.level = 'patient'
  AND orthanc_id.orthanc_id = new.orthanc_id
"""
"""Of patients: what the others' were made of is nobody's name."""

SERIES_OF_STUDIES: Final = f"""
SELECT {_SERIES}, series.described_by
FROM series JOIN {_rows("study")} AS new USING (tenant_id, study_instance_uid)
"""

STUDIES_OF_PATIENTS: Final = f"""
SELECT patient.tenant_id, patient.patient_id, patient.described_by, of_patient.study_instance_uid
FROM patient JOIN {_rows("patient")} AS new USING (tenant_id, patient_id), LATERAL (
    SELECT study_instance_uid FROM study
    WHERE study.tenant_id = patient.tenant_id AND study.patient_id = patient.patient_id
    UNION
    SELECT study_instance_uid FROM study
    WHERE study.tenant_id = patient.tenant_id AND cardinality(patient_ids) > 1
      AND patient.patient_id = ANY (patient_ids)
    LIMIT :most
) AS of_patient
"""

UPDATE_PATIENTS: Final = f"""
UPDATE patient SET ({_DESCRIPTION}) = ({_new(_DESCRIPTION)})
FROM {_rows("patient")} AS new
WHERE patient.tenant_id = new.tenant_id AND patient.patient_id = new.patient_id
"""

DELETIONS: Final = f"""
SELECT DISTINCT ON ({_INSTANCE})
    {_INSTANCE}, change.revision, change.created_date, change.received_at
FROM change JOIN {_rows("change")} AS new USING ({_INSTANCE})
WHERE change.action = 'delete'
ORDER BY {_INSTANCE}, change.revision DESC
"""
"""The newest of each instance."""

GONE_SERIES: Final = f"""
SELECT {_SERIES}, max(change.revision), max(change.changed_at),
    (SELECT count(*) FROM series AS other WHERE other.tenant_id = change.tenant_id
        AND other.study_instance_uid = change.study_instance_uid),
    (SELECT max(revision) FROM change AS other WHERE other.tenant_id = change.tenant_id
        AND other.study_instance_uid = change.study_instance_uid AND other.action = 'delete')
FROM change JOIN {_rows("series")} AS new USING ({_SERIES})
WHERE change.action = 'delete' AND NOT EXISTS (
    SELECT FROM series WHERE series.tenant_id = change.tenant_id
      AND series.study_instance_uid = change.study_instance_uid
      AND series.series_instance_uid = change.series_instance_uid)
GROUP BY {_SERIES}
ORDER BY {_SERIES}
"""
"""Series that had instances, and are in the index no more."""
