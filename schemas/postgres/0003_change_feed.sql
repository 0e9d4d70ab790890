-- The change feed: what happened to the ledger, in an order that never changes.
--
-- extract_tags adds a row in the transaction that changes the ledger, without a
-- number: one drawn there would be visible in the order of the commits and not of
-- the numbers, and who reads between two commits would miss the lower one for
-- ever. Numbers are given afterwards, to the rows that are committed, by whoever
-- reads (functions/change_feed), who holds the tenant's row of change_feed while
-- he does. So numbers are dense from 1, none appears below one that was seen
-- already, and writers wait for nobody.

CREATE TABLE change (
    tenant_id           text   COLLATE "C" NOT NULL,
    revision            bigint NOT NULL,
    study_instance_uid  text   COLLATE "C" NOT NULL,
    series_instance_uid text   COLLATE "C" NOT NULL,
    sop_instance_uid    text   COLLATE "C" NOT NULL,
    action              text   COLLATE "C" NOT NULL CHECK (action IN ('create', 'update', 'delete')),
    changed_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    sequence            bigint,
    PRIMARY KEY (tenant_id, revision, study_instance_uid, series_instance_uid, sop_instance_uid)
);
COMMENT ON TABLE change IS
    'No foreign key: what was deleted stays in the feed. Who writes here holds the lock on the '
    'study when he draws the revision, so changes of an instance are in the order of theirs.';
COMMENT ON COLUMN change.sequence IS
    'Place in the tenant''s feed; NULL until somebody reads.';

CREATE UNIQUE INDEX change_sequence ON change (tenant_id, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX change_waiting ON change (tenant_id, revision) WHERE sequence IS NULL;

CREATE TABLE change_feed (
    tenant_id     text   COLLATE "C" NOT NULL,
    last_sequence bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
COMMENT ON TABLE change_feed IS
    'The last number given to a change of each tenant.';

-- What was in the ledger before there was a feed. Nobody may add to it meanwhile.
LOCK TABLE instance IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO change
    (tenant_id, revision, study_instance_uid, series_instance_uid, sop_instance_uid, action,
     changed_at, sequence)
SELECT tenant_id, revision, study_instance_uid, series_instance_uid, sop_instance_uid, 'create',
    received_at, row_number() OVER (PARTITION BY tenant_id ORDER BY revision, study_instance_uid,
        series_instance_uid, sop_instance_uid)
FROM instance;
INSERT INTO change_feed (tenant_id, last_sequence)
SELECT tenant_id, count(*) FROM change GROUP BY tenant_id;
