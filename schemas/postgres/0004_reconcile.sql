-- Where rebuild, reconcile and scrub stand, so that one that ended goes on. It
-- lies with the index on purpose: what is lost with the index has to be announced
-- again from the first study.

CREATE TABLE sweep (
    tenant_id   text   COLLATE "C" NOT NULL,
    task        text   COLLATE "C" NOT NULL,
    scope       text   COLLATE "C" NOT NULL,
    after_study text   COLLATE "C" NOT NULL DEFAULT '',
    instances   bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, task)
);
COMMENT ON TABLE sweep IS 'Newest run of each task: rebuild, reconcile, scrub.';
COMMENT ON COLUMN sweep.scope IS 'What it was asked for, as rebuild''s "metadata,warehouse".';
COMMENT ON COLUMN sweep.after_study IS
    'Studies are taken in the order of their UIDs; this one and all before it are done.';

CREATE TABLE announced_file (
    tenant_id           text   COLLATE "C" NOT NULL,
    study_instance_uid  text   COLLATE "C" NOT NULL,
    series_instance_uid text   COLLATE "C" NOT NULL,
    sop_instance_uid    text   COLLATE "C" NOT NULL,
    announced_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid)
);
COMMENT ON TABLE announced_file IS
    'Files without a row that a sweep has announced: one that nobody can read makes one dead letter in a while, and not one in every sweep.';
