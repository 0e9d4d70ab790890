-- What Orthanc's ids were made of: SHA-1 of Patient ID and UIDs with "|" between them.
--
-- A hash tells nobody what it was made of, so whoever is given one looks it up here. The
-- rows are made when an id is asked for that has none, out of the change feed, of which
-- is remembered how far that has come (functions/orthanc/ids.py): storing costs nothing
-- more, and an archive that nobody asks by these ids has none. What a row leads to is
-- looked up in the index, and its id made anew, before it is believed: rows of what is
-- deleted, or of another patient since, lead nowhere. All of this can be emptied.

CREATE TABLE orthanc_id (
    tenant_id  text   COLLATE "C" NOT NULL,
    level      text   COLLATE "C" NOT NULL,
    orthanc_id bytea  NOT NULL,
    keys       text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, level, orthanc_id)
);
COMMENT ON COLUMN orthanc_id.level IS
    'Of its key, as a Patient ID with "|" in it has the id of a study.';
COMMENT ON COLUMN orthanc_id.keys IS
    'UIDs as far as the level has them; of a patient the Patient ID.';

CREATE TABLE orthanc_progress (
    tenant_id     text   COLLATE "C" NOT NULL,
    last_sequence bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
COMMENT ON TABLE orthanc_progress IS
    'Changes up to this one have their ids. Who makes more holds the lock on the row.';

-- The Patient ID is that of the study. When it changes, which is rare, so do the ids of
-- all that is there already. One row a change: who has read a row has seen what it is
-- about, and another change is another row.
CREATE TABLE orthanc_renamed_study (
    tenant_id           text   COLLATE "C" NOT NULL,
    number              bigint GENERATED ALWAYS AS IDENTITY,
    study_instance_uid  text   COLLATE "C" NOT NULL,
    series_instance_uid text   COLLATE "C" NOT NULL DEFAULT '',
    sop_instance_uid    text   COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, number)
);
COMMENT ON TABLE orthanc_renamed_study IS
    'Instances after this one are to be given the ids they have by the study''s new Patient ID.';

CREATE FUNCTION orthanc_rename_study() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO orthanc_renamed_study (tenant_id, study_instance_uid)
    VALUES (NEW.tenant_id, NEW.study_instance_uid);
    RETURN NULL;
END;
$$;
CREATE TRIGGER orthanc_rename AFTER UPDATE OF patient_id ON study
    FOR EACH ROW WHEN (OLD.patient_id <> NEW.patient_id)
    EXECUTE FUNCTION orthanc_rename_study();

COMMENT ON FUNCTION name_words IS
    'What a name is found by; pacsless/person_names.py asks for these lexemes.';
