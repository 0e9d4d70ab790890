-- How many instances a series has, and how many bytes; 0010 fills and keeps it. A migration
-- of its own: searches wait for it, and it takes a moment.

ALTER TABLE series ADD instances bigint NOT NULL DEFAULT 0, ADD bytes bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN series.instances IS 'In the ledger; kept by triggers on it.';
COMMENT ON COLUMN series.bytes IS 'Of its instances'' files, as received; kept by triggers on the ledger.';
