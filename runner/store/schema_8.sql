-- Until when requests are kept whose definitions say so; the others go by the server's setting.

CREATE TABLE kept (
    request_id INTEGER PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    until REAL NOT NULL
);
CREATE INDEX kept_until ON kept (until);
