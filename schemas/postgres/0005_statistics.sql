-- How many different studies and series there are among the rows, as a share of them.
--
-- ANALYZE counts the values in a sample. What it counted in the first minute of a burst,
-- ten studies, the planner believes for the next ten thousand instances, and counts the
-- instances of one study by reading them all. Identifiers grow with their tables; a share
-- that is wrong by a factor of ten still makes it use the index.
ALTER TABLE instance
    ALTER COLUMN study_instance_uid SET (n_distinct = -0.005),
    ALTER COLUMN series_instance_uid SET (n_distinct = -0.02);
ALTER TABLE series ALTER COLUMN study_instance_uid SET (n_distinct = -0.3);
ALTER TABLE metadata_document ALTER COLUMN study_instance_uid SET (n_distinct = -0.2);

ANALYZE instance, series, metadata_document;
