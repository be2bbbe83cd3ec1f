-- Versions of plugins: which text each is. One a repository; that a public one comes from one repository alone is seen to
-- where it is registered.
CREATE TABLE plugins (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    job_type TEXT NOT NULL,
    sem_version TEXT NOT NULL,
    plain TEXT NOT NULL,
    public INTEGER NOT NULL,
    released INTEGER NOT NULL,
    version_id INTEGER NOT NULL REFERENCES versions (id),
    digest TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE UNIQUE INDEX plugins_version ON plugins (job_type, repository_id, plain);
CREATE INDEX plugins_organization ON plugins (organization_id);
CREATE INDEX plugins_public ON plugins (public);
CREATE TRIGGER released_plugins_never_change BEFORE UPDATE ON plugins WHEN old.released
BEGIN
    SELECT RAISE(ABORT, 'a released version of a plugin never changes');
END;
