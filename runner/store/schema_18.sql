-- Calls that their callers may repeat (`Idempotency-Key`): a row is written with what such a call changes, so that whoever
-- asks again after a crash is not obeyed twice. Nobody reads the outbox by its due time.

CREATE TABLE calls (
    name TEXT PRIMARY KEY,
    asked TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX calls_at ON calls (at);

DROP INDEX outbox_due;
