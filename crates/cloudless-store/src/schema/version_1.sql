CREATE TABLE users (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id),
    name         TEXT    NOT NULL,
    secret_hash  BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER,
    revoked_at   INTEGER
) STRICT;

-- The name of a revoked device is free for a new one.
CREATE UNIQUE INDEX devices_in_use ON devices (user_id, name) WHERE revoked_at IS NULL;

CREATE TABLE address_books (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id),
    slug         TEXT    NOT NULL,
    display_name TEXT    NOT NULL,
    description  TEXT    NOT NULL DEFAULT '',
    incarnation  TEXT    NOT NULL UNIQUE,
    revision     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user_id, slug)
) STRICT;

-- Everything that was ever stored, removed or refused under a name. Rows are only added.
-- `bytes` comes last so that the other columns are read without it.
CREATE TABLE versions (
    id        INTEGER PRIMARY KEY,
    book_id   INTEGER NOT NULL REFERENCES address_books (id),
    name      TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    device_id INTEGER REFERENCES devices (id),
    reason    TEXT,
    etag      TEXT,
    uid       TEXT,
    full_name TEXT,
    bytes     BLOB,
    UNIQUE (book_id, name, number)
) STRICT;

-- One row for each name that was ever used, and the change log at the same time: a card that was
-- removed keeps its row, without a version, so that a sync learns of it. `revision` is the book's
-- revision at the last change, `first_revision` the one at which the name was first used: who
-- knows an older revision only has never seen the card.
CREATE TABLE cards (
    book_id        INTEGER NOT NULL REFERENCES address_books (id),
    name           TEXT    NOT NULL,
    first_revision INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    modified_at    INTEGER NOT NULL,
    version_id     INTEGER REFERENCES versions (id),
    etag           TEXT,
    size           INTEGER,
    uid            TEXT,
    PRIMARY KEY (book_id, name),
    CHECK ((version_id IS NULL) = (etag IS NULL)),
    CHECK ((version_id IS NULL) = (size IS NULL)),
    CHECK (uid IS NULL OR version_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX cards_by_revision ON cards (book_id, revision);

CREATE UNIQUE INDEX cards_by_uid ON cards (book_id, uid) WHERE uid IS NOT NULL;
