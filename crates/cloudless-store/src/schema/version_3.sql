-- Not released yet: parts may be added below until it is.

-- Plain collections and plain resources (RFC 4918), a tree for each user. The root of a tree has
-- neither parent nor name. A collection has no content, and so no ETag and no size of its own;
-- `property_size` counts the bytes of the dead properties. `bytes` comes last so that the other
-- columns are read without it.
CREATE TABLE resources (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL REFERENCES users (id),
    parent_id     INTEGER REFERENCES resources (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    modified_at   INTEGER NOT NULL,
    etag          TEXT,
    content_type  TEXT,
    size          INTEGER NOT NULL DEFAULT 0,
    property_size INTEGER NOT NULL DEFAULT 0,
    bytes         BLOB,
    UNIQUE (parent_id, name),
    CHECK ((parent_id IS NULL) = (name = '')),
    CHECK ((etag IS NULL) = (bytes IS NULL))
) STRICT;

CREATE UNIQUE INDEX resource_roots ON resources (user_id) WHERE parent_id IS NULL;

CREATE INDEX resources_by_user ON resources (user_id, size, property_size);

CREATE TABLE resource_properties (
    resource_id INTEGER NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    namespace   TEXT    NOT NULL,
    local       TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (resource_id, namespace, local)
) STRICT, WITHOUT ROWID;

INSERT INTO resources (user_id, name, modified_at) SELECT id, '', created_at FROM users;

-- WebDAV-Push: where a device wants to be told that an address book changed. `name` is the last
-- segment of the registration's URL. A change is told while the book's revision is above
-- `told_revision`, or `property_changes` above `told_property_changes`, so that nothing is forgotten
-- when the program ends in between.
CREATE TABLE push_registrations (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    name                  TEXT    NOT NULL UNIQUE,
    book_id               INTEGER NOT NULL REFERENCES address_books (id),
    user_id               INTEGER NOT NULL REFERENCES users (id),
    device_id             INTEGER NOT NULL REFERENCES devices (id),
    push_resource         TEXT    NOT NULL,
    public_key            BLOB    NOT NULL,
    auth_secret           BLOB    NOT NULL,
    on_content            INTEGER NOT NULL,
    on_properties         INTEGER NOT NULL,
    expires_at            INTEGER NOT NULL,
    told_revision         INTEGER NOT NULL,
    property_changes      INTEGER NOT NULL DEFAULT 0,
    told_property_changes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (book_id, user_id, push_resource)
) STRICT;

CREATE INDEX push_registrations_by_user ON push_registrations (user_id);
CREATE INDEX push_registrations_by_device ON push_registrations (device_id);

-- Who may not read a book any more is told nothing of it.
CREATE TRIGGER push_ends_with_device AFTER UPDATE OF revoked_at ON devices
WHEN new.revoked_at IS NOT NULL
BEGIN
    DELETE FROM push_registrations WHERE device_id = new.id;
END;

CREATE TRIGGER push_ends_with_book AFTER UPDATE OF deleted_at ON address_books
WHEN new.deleted_at IS NOT NULL
BEGIN
    DELETE FROM push_registrations WHERE book_id = new.id;
END;

CREATE TRIGGER push_ends_with_share AFTER DELETE ON shares
BEGIN
    DELETE FROM push_registrations WHERE book_id = old.book_id AND user_id = old.user_id;
END;

-- Properties of the book itself: what people read of it, dead ones, and what a user may do with it.
CREATE TRIGGER push_book_described AFTER UPDATE OF display_name, description ON address_books
WHEN new.display_name <> old.display_name OR new.description <> old.description
BEGIN
    UPDATE push_registrations SET property_changes = property_changes + 1 WHERE book_id = new.id;
END;

CREATE TRIGGER push_property_added AFTER INSERT ON properties WHEN new.name = ''
BEGIN
    UPDATE push_registrations SET property_changes = property_changes + 1
    WHERE book_id = new.book_id;
END;

CREATE TRIGGER push_property_changed AFTER UPDATE OF value ON properties
WHEN new.name = '' AND new.value <> old.value
BEGIN
    UPDATE push_registrations SET property_changes = property_changes + 1
    WHERE book_id = new.book_id;
END;

CREATE TRIGGER push_property_removed AFTER DELETE ON properties WHEN old.name = ''
BEGIN
    UPDATE push_registrations SET property_changes = property_changes + 1
    WHERE book_id = old.book_id;
END;

CREATE TRIGGER push_access_changed AFTER UPDATE OF access ON shares
WHEN new.access <> old.access
BEGIN
    UPDATE push_registrations SET property_changes = property_changes + 1
    WHERE book_id = new.book_id AND user_id = new.user_id;
END;

-- The SHA-256 of the client certificate without which the device is refused; NULL where it needs none.
ALTER TABLE devices ADD COLUMN certificate_hash BLOB;

-- Bodies that were refused, by who sent them: those of who may only read are counted.
CREATE INDEX refused_versions ON versions (book_id, device_id) WHERE kind = 'refused';

-- All that is found of a card in one row: the values of each property, with the bytes 0xFE and 0xFF
-- between them, and the text. The id is that of the card's version. `index_entries` and `trigrams`
-- are made from these rows when nobody waits for the writer, up to the ids in `settings`; rows after
-- these are gone through one by one. Cards are indexed again.
DROP TABLE card_index;

CREATE TABLE card_index (
    id          INTEGER PRIMARY KEY,
    book_id     INTEGER NOT NULL REFERENCES address_books (id),
    name        TEXT    NOT NULL,
    value_lists BLOB    NOT NULL,
    text        TEXT    NOT NULL
) STRICT;

UPDATE cards SET index_id = NULL WHERE index_id IS NOT NULL;

INSERT INTO trigrams (trigrams) VALUES ('delete-all');

DELETE FROM settings WHERE name = 'trigrams_to';

-- The values of one property of one book lie together: a query reads nothing else. All values of a
-- card are in one row.
DROP TABLE index_entries;

CREATE TABLE index_entries (
    book_id    INTEGER NOT NULL,
    property   TEXT    NOT NULL,
    index_id   INTEGER NOT NULL,
    value_list BLOB    NOT NULL,
    PRIMARY KEY (book_id, property, index_id)
) STRICT, WITHOUT ROWID;

-- What was made from rows that are gone. It is removed when nobody waits for the writer; until then
-- nobody finds a card by it, because `card_index` has no such row.
CREATE TABLE index_stale (
    id          INTEGER PRIMARY KEY,
    book_id     INTEGER NOT NULL,
    value_lists BLOB    NOT NULL
) STRICT;
