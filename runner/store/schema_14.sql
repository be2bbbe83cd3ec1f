-- What tasks' reports say: one row an attempt that has any, its tests and its files one by one, bounded by the ant.

CREATE TABLE reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER,
    request_id INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    task_execution_id TEXT NOT NULL UNIQUE,
    task_type TEXT NOT NULL,
    created_at REAL NOT NULL,
    passed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    seconds REAL NOT NULL,
    first TEXT NOT NULL,
    covered INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    cases INTEGER NOT NULL,
    files INTEGER NOT NULL
);
CREATE INDEX reports_request ON reports (request_id);

CREATE TABLE report_cases (
    report_id INTEGER NOT NULL REFERENCES reports (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    name TEXT NOT NULL,
    classname TEXT NOT NULL,
    file TEXT NOT NULL,
    seconds REAL,
    message TEXT NOT NULL,
    PRIMARY KEY (report_id, number)
) WITHOUT ROWID;

CREATE TABLE report_lines (
    report_id INTEGER NOT NULL REFERENCES reports (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    path TEXT NOT NULL,
    covered INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    PRIMARY KEY (report_id, number)
) WITHOUT ROWID;
