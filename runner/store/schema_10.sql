-- Shared resources. Who holds units of one is not here: that is part of an execution, and ends with it.

CREATE TABLE resources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    tags TEXT NOT NULL,
    quota INTEGER NOT NULL,
    description TEXT NOT NULL,
    configs TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE UNIQUE INDEX resources_name ON resources (organization_id, resource_type, name);
