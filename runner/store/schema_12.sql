-- Who did what, when, and with which token. It is written in the change that does it, and never changed or deleted.

CREATE TABLE audits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER,
    request_id INTEGER,
    at REAL NOT NULL,
    user_id TEXT NOT NULL,
    token_id INTEGER,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audits_organization ON audits (organization_id);
CREATE INDEX audits_action ON audits (organization_id, action);
CREATE INDEX audits_user ON audits (organization_id, user_id);
CREATE INDEX audits_request ON audits (request_id);
