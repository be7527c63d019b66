-- Schema 2: records are appended, and found by few and small indexes.

-- Copied into the new table by the program, then dropped.
ALTER TABLE records RENAME TO records_of_schema_1;
DROP INDEX records_time;
DROP INDEX records_app;
DROP INDEX records_model;
DROP INDEX records_outcome;
DROP INDEX records_status;
DROP INDEX records_request;

-- In the order in which they came; shown in the order of (time, id).
CREATE TABLE records (
    place       INTEGER PRIMARY KEY,
    time        INTEGER NOT NULL, -- whole milliseconds since 1970
    micros      INTEGER NOT NULL, -- and what is left of them, 0 to 999
    id          BLOB    NOT NULL,
    app_id      TEXT,
    model       TEXT,
    status      INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,
    request_id  TEXT,             -- none: the id itself, as 32 digits
    request_key INTEGER,          -- its hash, below the number of the group
    rest        BLOB    NOT NULL  -- what nobody searches by (`rest.rs`)
) STRICT;
CREATE UNIQUE INDEX records_order ON records (time, id);
-- Request ids have no order. In groups of 4,096 places, one that comes is written near the one before, and whoever
-- searches looks into each group.
CREATE INDEX records_request ON records (request_key) WHERE request_key IS NOT NULL;

-- How many records of each app (1), model (2), outcome (3) and status (4), and of all (0), lie in which ten seconds
-- since 1970, and between which times: counted by the batch, where an index would be written by the record.
CREATE TABLE record_slots (
    field   INTEGER NOT NULL,
    value   ANY     NOT NULL,
    slot    INTEGER NOT NULL,
    first   INTEGER NOT NULL, -- milliseconds since 1970, both included; after a purge there may be fewer
    last    INTEGER NOT NULL,
    records INTEGER NOT NULL,
    PRIMARY KEY (field, value, slot)
) STRICT, WITHOUT ROWID;

-- A gateway mints ids that begin with the record's time, so (time, id) is unique if the id is. Ids that do not are
-- here, too.
CREATE TABLE odd_ids (id BLOB PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;

-- All records that were purged are older than this, in milliseconds since 1970.
ALTER TABLE store ADD COLUMN purged_before INTEGER NOT NULL DEFAULT -9223372036854775808;
UPDATE store SET purged_before = coalesce((SELECT max(time) / 1000 + 1 FROM purged_records), purged_before);
