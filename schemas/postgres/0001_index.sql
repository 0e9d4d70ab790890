-- The index: patients, studies, series, and one narrow row an instance.
--
-- tenant_id leads every primary key, unique constraint, foreign key, index and
-- join, so that Citus can distribute every table on it and no constraint of one
-- tenant tells another what exists. Text is COLLATE "C": UIDs order by bytes the
-- same on every server, and a B-tree serves LIKE 'prefix%'.
--
-- Columns beside "attributes" are search keys, made by functions/extract_tags:
-- cut to 256 characters, names folded for case-insensitive matching. What is
-- answered comes from "attributes" alone, in the DICOM JSON Model (PS3.18
-- Annex F). Nothing here counts anything: counts are asked of the ledger.
--
-- A patient, study or series is described by one of its instances as a whole:
-- the one that states most attributes of the level, of equals the one with the
-- lowest SOP Instance UID. "stated" and "described_by" say which, so instances
-- may arrive in any order and the same one wins.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE SEQUENCE revision AS bigint;
COMMENT ON SEQUENCE revision IS
    'One number for each batch that changes anything; of two states the larger is newer.';

CREATE TABLE patient (
    tenant_id    text   COLLATE "C" NOT NULL,
    patient_id   text   COLLATE "C" NOT NULL,
    described_by text   COLLATE "C" NOT NULL,
    stated       integer            NOT NULL,
    attributes   jsonb              NOT NULL,
    PRIMARY KEY (tenant_id, patient_id)
);
COMMENT ON TABLE patient IS
    'Patient ID may be empty (type 2): that row stands for all the unidentified and describes nobody.';

CREATE TABLE study (
    tenant_id                text    COLLATE "C" NOT NULL,
    study_instance_uid       text    COLLATE "C" NOT NULL,
    patient_id               text    COLLATE "C" NOT NULL,
    patient_ids              text[]  COLLATE "C" NOT NULL,
    patient_name             text    COLLATE "C" NOT NULL,
    patient_name_ideographic text    COLLATE "C" NOT NULL,
    patient_name_phonetic    text    COLLATE "C" NOT NULL,
    patient_birth_date       date,
    patient_sex              text    COLLATE "C" NOT NULL,
    study_date               date,
    study_time               text    COLLATE "C",
    accession_number         text    COLLATE "C" NOT NULL,
    study_id                 text    COLLATE "C" NOT NULL,
    study_description        text    COLLATE "C" NOT NULL,
    referring_physician_name text    COLLATE "C" NOT NULL,
    referring_physician_name_ideographic text COLLATE "C" NOT NULL,
    referring_physician_name_phonetic    text COLLATE "C" NOT NULL,
    described_by             text    COLLATE "C" NOT NULL,
    stated                   integer NOT NULL,
    attributes               jsonb   NOT NULL,
    PRIMARY KEY (tenant_id, study_instance_uid),
    FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, patient_id)
);
COMMENT ON COLUMN study.attributes IS
    'Patient and study attributes of the describing instance: PatientName and PatientID are of one data set.';
COMMENT ON COLUMN study.patient_ids IS
    'Every Patient ID the study''s instances state, sorted; more than one is a conflict to look at.';
COMMENT ON COLUMN study.study_time IS
    'HHMMSS.ffffff, or NULL if the value is no time.';

CREATE INDEX study_newest ON study
    (tenant_id, study_date DESC NULLS LAST, study_time DESC NULLS LAST, study_instance_uid);
CREATE INDEX study_patient_id ON study (tenant_id, patient_id);
CREATE INDEX study_patient_conflict ON study (tenant_id) WHERE cardinality(patient_ids) > 1;
CREATE INDEX study_accession_number ON study (tenant_id, accession_number)
    WHERE accession_number <> '';
CREATE INDEX study_id ON study (tenant_id, study_id) WHERE study_id <> '';
CREATE INDEX study_patient_birth_date ON study (tenant_id, patient_birth_date)
    WHERE patient_birth_date IS NOT NULL;
CREATE INDEX study_patient_name ON study (tenant_id, patient_name);
CREATE INDEX study_patient_name_ideographic ON study (tenant_id, patient_name_ideographic)
    WHERE patient_name_ideographic <> '';
CREATE INDEX study_patient_name_phonetic ON study (tenant_id, patient_name_phonetic)
    WHERE patient_name_phonetic <> '';
CREATE INDEX study_referring ON study (tenant_id, referring_physician_name)
    WHERE referring_physician_name <> '';
CREATE INDEX study_referring_ideographic ON study (tenant_id, referring_physician_name_ideographic)
    WHERE referring_physician_name_ideographic <> '';
CREATE INDEX study_referring_phonetic ON study (tenant_id, referring_physician_name_phonetic)
    WHERE referring_physician_name_phonetic <> '';
-- Study lists of viewers ask for PatientName=*part*, which only trigrams serve.
CREATE INDEX study_text ON study USING gin (
    patient_name gin_trgm_ops, patient_name_ideographic gin_trgm_ops,
    patient_name_phonetic gin_trgm_ops, study_description gin_trgm_ops,
    referring_physician_name gin_trgm_ops
);

CREATE TABLE series (
    tenant_id           text    COLLATE "C" NOT NULL,
    study_instance_uid  text    COLLATE "C" NOT NULL,
    series_instance_uid text    COLLATE "C" NOT NULL,
    modality            text    COLLATE "C" NOT NULL,
    series_number       bigint,
    series_description  text    COLLATE "C" NOT NULL,
    body_part_examined  text    COLLATE "C" NOT NULL,
    performed_procedure_step_start_date date,
    performed_procedure_step_start_time text COLLATE "C",
    described_by        text    COLLATE "C" NOT NULL,
    stated              integer NOT NULL,
    attributes          jsonb   NOT NULL,
    revision            bigint  NOT NULL,
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid),
    FOREIGN KEY (tenant_id, study_instance_uid) REFERENCES study (tenant_id, study_instance_uid)
);
COMMENT ON COLUMN series.revision IS
    'Grows when the series, its study''s description or its set of instances changes.';

CREATE INDEX series_uid ON series (tenant_id, series_instance_uid);
CREATE INDEX series_modality ON series (tenant_id, modality, study_instance_uid);
CREATE INDEX series_performed ON series (tenant_id, performed_procedure_step_start_date)
    WHERE performed_procedure_step_start_date IS NOT NULL;
-- (0040,0275) Request Attributes Sequence: containment matches item by item.
CREATE INDEX series_request ON series USING gin ((attributes -> '00400275') jsonb_path_ops)
    WHERE attributes ? '00400275';

CREATE TABLE instance (
    tenant_id           text   COLLATE "C" NOT NULL,
    study_instance_uid  text   COLLATE "C" NOT NULL,
    series_instance_uid text   COLLATE "C" NOT NULL,
    sop_instance_uid    text   COLLATE "C" NOT NULL,
    sop_class_uid       text   COLLATE "C" NOT NULL,
    instance_number     bigint,
    transfer_syntax_uid text   COLLATE "C" NOT NULL,
    sha256              text   COLLATE "C" NOT NULL,
    file_size           bigint NOT NULL,
    file_path           text   COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        tenant_id || '/' || study_instance_uid || '/' || series_instance_uid || '/'
        || sop_instance_uid || '.dcm') STORED,
    revision            bigint NOT NULL,
    received_at         timestamptz NOT NULL,
    created_date        date   NOT NULL,
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid),
    FOREIGN KEY (tenant_id, study_instance_uid, series_instance_uid)
        REFERENCES series (tenant_id, study_instance_uid, series_instance_uid)
);
COMMENT ON TABLE instance IS
    'The ledger: which files there are. SOP class and instance number are here because QIDO-RS '
    'must match them (PS3.18 Table 10.6.1-5); every other image attribute lives elsewhere.';
COMMENT ON COLUMN instance.created_date IS
    'Date of first ingest, UTC; never changes: it partitions the warehouse.';

CREATE INDEX instance_uid ON instance (tenant_id, sop_instance_uid);
