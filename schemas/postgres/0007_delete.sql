-- What is deleted: the feed remembers what its announcement needs, as the ledger forgets it.

ALTER TABLE change ADD created_date date, ADD received_at timestamptz;
COMMENT ON COLUMN change.created_date IS
    'Of a deleted instance, as the ledger had it: where the warehouse has its row.';
COMMENT ON COLUMN change.received_at IS 'Of a deleted instance, as the ledger had it.';

CREATE INDEX change_deleted ON change
    (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid, revision)
    WHERE action = 'delete';

ALTER TABLE instance ADD file_time timestamptz;
COMMENT ON COLUMN instance.file_time IS
    'Time of the file the row is about, which tells it from one that was deleted before and had the '
    'same bytes; NULL in rows of before there was deleting.';
