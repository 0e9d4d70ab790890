-- What build_metadata has written: one row a stored document. Nothing reads it to
-- answer a client, as files are the truth; the sweep and `pacsless status` compare
-- it with the ledger to see which documents lag, and by how much.

CREATE TABLE metadata_document (
    tenant_id           text   COLLATE "C" NOT NULL,
    study_instance_uid  text   COLLATE "C" NOT NULL,
    series_instance_uid text   COLLATE "C" NOT NULL,
    instances           integer     NOT NULL,
    left_out            integer     NOT NULL,
    revision            bigint      NOT NULL,
    sha256              text   COLLATE "C" NOT NULL,
    built_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid)
);
COMMENT ON COLUMN metadata_document.series_instance_uid IS
    'Empty for the document of the study.';
COMMENT ON COLUMN metadata_document.left_out IS
    'Originals that cannot be read as DICOM and are therefore not in it.';
COMMENT ON COLUMN metadata_document.revision IS
    'The newest state of the series the builder had heard of.';
COMMENT ON COLUMN metadata_document.sha256 IS
    'Of the uncompressed document.';
