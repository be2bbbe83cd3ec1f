-- Secrets, sealed: the key is nowhere in here. `key_id` says which one it was. A deleted repository takes its own along.

CREATE TABLE secrets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER REFERENCES repositories (id) ON DELETE CASCADE,
    job_type TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    branches TEXT NOT NULL,
    events TEXT NOT NULL,
    key_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    sealed TEXT NOT NULL
);
CREATE UNIQUE INDEX secrets_scope ON secrets (organization_id, ifnull(repository_id, 0), job_type, kind, name);
CREATE INDEX secrets_organization ON secrets (organization_id);
CREATE INDEX secrets_key ON secrets (key_id);
CREATE INDEX secrets_repository ON secrets (repository_id);
