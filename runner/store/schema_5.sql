-- What a delivery says (a fact), and the pull requests as their forges last told of them.

ALTER TABLE deliveries ADD COLUMN fact TEXT NOT NULL DEFAULT '{}';
CREATE INDEX deliveries_digest ON deliveries (repository_id, body_digest);

CREATE TABLE pull_requests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    head_ref TEXT NOT NULL,
    head_commit TEXT NOT NULL,
    head_slug TEXT NOT NULL,
    base_ref TEXT NOT NULL,
    base_commit TEXT NOT NULL,
    merge_commit TEXT NOT NULL,
    fork INTEGER NOT NULL,
    draft INTEGER NOT NULL,
    labels TEXT NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (repository_id, number)
) WITHOUT ROWID;
