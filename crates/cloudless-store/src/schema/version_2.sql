-- A deleted address book keeps its row, so that its history stays, and frees its slug.
-- `card_count` counts the cards that are there. `deleted_version` is the newest version of the
-- history before the deletion, from which the book can be brought back.
CREATE TABLE new_address_books (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    slug            TEXT    NOT NULL,
    display_name    TEXT    NOT NULL,
    description     TEXT    NOT NULL DEFAULT '',
    incarnation     TEXT    NOT NULL UNIQUE,
    revision        INTEGER NOT NULL DEFAULT 0,
    card_count      INTEGER NOT NULL DEFAULT 0,
    personal        INTEGER NOT NULL DEFAULT 0,
    deleted_at      INTEGER,
    deleted_version INTEGER,
    CHECK ((deleted_at IS NULL) = (deleted_version IS NULL)),
    CHECK (personal = 0 OR deleted_at IS NULL)
) STRICT;

INSERT INTO new_address_books
    (id, user_id, slug, display_name, description, incarnation, revision, card_count, personal)
SELECT id, user_id, slug, display_name, description, incarnation, revision,
       (SELECT count(*) FROM cards WHERE book_id = address_books.id AND version_id IS NOT NULL),
       slug = 'contacts'
FROM address_books;

DROP TABLE address_books;

ALTER TABLE new_address_books RENAME TO address_books;

CREATE UNIQUE INDEX address_books_by_slug ON address_books (user_id, slug)
    WHERE deleted_at IS NULL;

CREATE UNIQUE INDEX personal_address_books ON address_books (user_id) WHERE personal = 1;

-- Deletions of the first schema do not say which contact went.
UPDATE versions SET (uid, full_name) = (
    SELECT uid, full_name FROM versions AS earlier
    WHERE earlier.book_id = versions.book_id AND earlier.name = versions.name
      AND earlier.number < versions.number AND earlier.kind <> 'refused'
    ORDER BY earlier.number DESC LIMIT 1
) WHERE kind = 'deleted';

CREATE INDEX versions_by_book ON versions (book_id);

CREATE INDEX versions_by_uid ON versions (book_id, uid) WHERE uid IS NOT NULL;

-- Removing an old version looks for the card that may have it.
CREATE INDEX cards_by_version ON cards (version_id);

-- The index of the card's current bytes in `card_index`; NULL while they are not indexed.
ALTER TABLE cards ADD COLUMN index_id INTEGER;

CREATE INDEX cards_without_index ON cards (book_id, name)
    WHERE version_id IS NOT NULL AND index_id IS NULL;

-- What can be searched in the current version of a card. An id is never used again.
CREATE TABLE card_index (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    book_id INTEGER NOT NULL REFERENCES address_books (id),
    name    TEXT    NOT NULL,
    text    TEXT    NOT NULL
) STRICT;

-- The values of one property of one book lie together: a query reads nothing else.
CREATE TABLE index_entries (
    book_id  INTEGER NOT NULL,
    property TEXT    NOT NULL,
    index_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    value    TEXT    NOT NULL,
    PRIMARY KEY (book_id, property, index_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX index_entries_by_card ON index_entries (index_id);

-- The trigrams of `card_index.text` up to the id in `settings`; texts after it are searched one by
-- one. The text is folded by the program, so that searching and checking agree.
CREATE VIRTUAL TABLE trigrams USING fts5 (
    text, content = '', contentless_delete = 1, detail = none,
    tokenize = 'trigram case_sensitive 1'
);

CREATE TABLE settings (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shares (
    book_id INTEGER NOT NULL REFERENCES address_books (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    slug    TEXT    NOT NULL,
    access  TEXT    NOT NULL CHECK (access IN ('read-only', 'read-write')),
    PRIMARY KEY (book_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX shares_by_user ON shares (user_id, slug);

-- Dead properties (RFC 4918 section 4) of an address book, whose `name` is empty, or of a card.
CREATE TABLE properties (
    book_id   INTEGER NOT NULL REFERENCES address_books (id),
    name      TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    local     TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    PRIMARY KEY (book_id, name, namespace, local)
) STRICT, WITHOUT ROWID;

-- How many cards a device deleted from a book in one minute, and which version was the first of
-- them. Old minutes go when the device deletes again.
CREATE TABLE deletion_counts (
    book_id       INTEGER NOT NULL REFERENCES address_books (id),
    device_id     INTEGER NOT NULL REFERENCES devices (id),
    minute        INTEGER NOT NULL,
    count         INTEGER NOT NULL,
    first_at      INTEGER NOT NULL,
    first_version INTEGER NOT NULL,
    PRIMARY KEY (book_id, device_id, minute)
) STRICT, WITHOUT ROWID;

-- A device deleted many cards in a short time: the deletions of that device from the first to the
-- last version.
CREATE TABLE alarms (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    book_id       INTEGER NOT NULL REFERENCES address_books (id),
    device_id     INTEGER NOT NULL REFERENCES devices (id),
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    first_version INTEGER NOT NULL,
    last_version  INTEGER NOT NULL,
    count         INTEGER NOT NULL,
    undone_at     INTEGER
) STRICT;

CREATE INDEX alarms_by_device ON alarms (book_id, device_id);
