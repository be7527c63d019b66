-- Schema 1. Times are microseconds since 1970, hours are counted since 1970.

-- The file's identity and the revision of its last change of an app. Deletions up to `forgotten` are forgotten.
CREATE TABLE store (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    epoch     BLOB    NOT NULL CHECK (length(epoch) = 16),
    revision  INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, randomblob(16), 0, 0);

CREATE TABLE apps (
    id              TEXT    PRIMARY KEY NOT NULL,
    org_name        TEXT    NOT NULL,
    org_name_folded TEXT    NOT NULL,
    key_prefix      TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('enabled', 'disabled')),
    create_time     INTEGER NOT NULL,
    expire_time     INTEGER,
    last_used_time  INTEGER,
    remark          TEXT,
    allowed_models  TEXT,
    revision        INTEGER NOT NULL
) STRICT;
CREATE INDEX apps_revision ON apps (revision);
CREATE INDEX apps_create_time ON apps (create_time, id);

CREATE TABLE app_keys (
    digest      BLOB    PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    app_id      TEXT    NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    prefix      TEXT    NOT NULL,
    valid_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX app_keys_app ON app_keys (app_id, place);

CREATE TABLE deleted_apps (
    id       TEXT    PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    time     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_apps_revision ON deleted_apps (revision);

CREATE TABLE records (
    id                BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    request_id        TEXT    NOT NULL,
    time              INTEGER NOT NULL,
    app_id            TEXT,
    org_name          TEXT,
    key_prefix        TEXT,
    method            TEXT    NOT NULL,
    path              TEXT    NOT NULL,
    pipeline          TEXT,
    model             TEXT,
    upstream          TEXT,
    endpoint          TEXT,
    upstream_model    TEXT,
    stream            INTEGER NOT NULL,
    status            INTEGER NOT NULL,
    outcome           TEXT    NOT NULL,
    error_code        TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    total_tokens      INTEGER,
    cached_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    token_source      TEXT    NOT NULL,
    duration_ms       INTEGER NOT NULL,
    ttft_ms           INTEGER,
    attempts          INTEGER NOT NULL,
    request_bytes     INTEGER NOT NULL,
    response_bytes    INTEGER NOT NULL,
    client_ip         TEXT    NOT NULL,
    user_agent        TEXT
) STRICT;
-- Every filter of the log, in the order in which records are shown.
CREATE INDEX records_time ON records (time, id);
CREATE INDEX records_app ON records (app_id, time, id);
CREATE INDEX records_model ON records (model, time, id);
CREATE INDEX records_outcome ON records (outcome, time, id);
CREATE INDEX records_status ON records (status, time, id);
CREATE INDEX records_request ON records (request_id, time, id);

-- Ids that retention has removed lately: such a record, shipped again, is not counted again.
CREATE TABLE purged_records (
    id   BLOB    PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX purged_records_time ON purged_records (time);

-- Counted in the transaction that inserts the records.
CREATE TABLE usage_hours (
    hour              INTEGER NOT NULL,
    app_id            TEXT,
    org_name          TEXT,
    model             TEXT,
    requests          INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens      INTEGER NOT NULL
) STRICT;
-- In a unique index every NULL is another one; no text equals the empty blob.
CREATE UNIQUE INDEX usage_hours_group
    ON usage_hours (hour, ifnull(app_id, x''), ifnull(org_name, x''), ifnull(model, x''));
