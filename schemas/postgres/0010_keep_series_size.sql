-- How many instances a series has, and how many bytes.
--
-- A study list says it of each study, and counting goes through all rows of the ledger:
-- a hundred CTs of a thousand instances are 25 ms for each page. Triggers keep the
-- numbers, in the transaction that changes the ledger and under the lock it has on the
-- study, whoever writes: an older extract_tags during an update, or psql. So they
-- cannot drift. series' row is written by such a transaction anyway.

-- Nobody may add to the ledger between the counting and the triggers; searches go on.
LOCK TABLE series, instance IN SHARE ROW EXCLUSIVE MODE;

UPDATE series SET instances = counted.instances, bytes = counted.bytes
FROM (
    SELECT tenant_id, study_instance_uid, series_instance_uid, count(*) AS instances,
        sum(file_size) AS bytes
    FROM instance GROUP BY tenant_id, study_instance_uid, series_instance_uid
) AS counted
WHERE series.tenant_id = counted.tenant_id
  AND series.study_instance_uid = counted.study_instance_uid
  AND series.series_instance_uid = counted.series_instance_uid;

CREATE FUNCTION count_added_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE series SET instances = series.instances + counted.instances,
        bytes = series.bytes + counted.bytes
    FROM (
        SELECT tenant_id, study_instance_uid, series_instance_uid, count(*) AS instances,
            sum(file_size) AS bytes
        FROM added GROUP BY tenant_id, study_instance_uid, series_instance_uid
    ) AS counted
    WHERE series.tenant_id = counted.tenant_id
      AND series.study_instance_uid = counted.study_instance_uid
      AND series.series_instance_uid = counted.series_instance_uid;
    RETURN NULL;
END;
$$;

CREATE FUNCTION count_removed_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE series SET instances = series.instances - counted.instances,
        bytes = series.bytes - counted.bytes
    FROM (
        SELECT tenant_id, study_instance_uid, series_instance_uid, count(*) AS instances,
            sum(file_size) AS bytes
        FROM removed GROUP BY tenant_id, study_instance_uid, series_instance_uid
    ) AS counted
    WHERE series.tenant_id = counted.tenant_id
      AND series.study_instance_uid = counted.study_instance_uid
      AND series.series_instance_uid = counted.series_instance_uid;
    RETURN NULL;
END;
$$;

-- A file of another digest in the place of one has another size.
CREATE TRIGGER count_inserted AFTER INSERT ON instance REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_instances();
CREATE TRIGGER count_deleted AFTER DELETE ON instance REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_instances();
CREATE TRIGGER count_updated_new AFTER UPDATE ON instance REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_instances();
CREATE TRIGGER count_updated_old AFTER UPDATE ON instance REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_instances();

ANALYZE series;
