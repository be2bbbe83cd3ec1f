-- Error codes of an organization: which failures are called what, and whether they are tried again.
CREATE TABLE error_codes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    error_code TEXT NOT NULL,
    regex TEXT NOT NULL,
    exit_code INTEGER,
    job_type TEXT NOT NULL,
    task_type TEXT NOT NULL,
    platform TEXT NOT NULL,
    action TEXT NOT NULL,
    retry INTEGER NOT NULL,
    message TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE INDEX error_codes_organization ON error_codes (organization_id);
