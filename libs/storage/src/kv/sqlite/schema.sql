-- Entries by key; keys compare by their bytes.
CREATE TABLE entry (
    key     TEXT NOT NULL UNIQUE,
    value   BLOB NOT NULL,
    version INTEGER NOT NULL
);

-- The change log. Changes of one commit share its revision.
CREATE TABLE change (
    sequence INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    key      TEXT NOT NULL,
    deleted  INTEGER NOT NULL
);
CREATE INDEX change_by_revision ON change (revision);

-- revision: that of the last commit. floor: the log is whole for cursors from here on.
CREATE TABLE state (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO state (name, value) VALUES ('revision', 0), ('floor', 0);
