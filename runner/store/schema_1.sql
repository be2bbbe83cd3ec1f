-- The first schema. Ids are never used twice (AUTOINCREMENT): logs and blobs are filed under them.
-- Bodies that lists do not show stand last in their table, so that a list never reads them.

CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO store (id, epoch) VALUES (1, 0);

CREATE TABLE repositories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    tracked_branch TEXT NOT NULL,
    visibility TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    seen_at REAL,
    synced_commit TEXT NOT NULL,
    synced_at REAL,
    UNIQUE (organization_id, name)
);

CREATE TABLE refs (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    ref TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    generation INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    PRIMARY KEY (repository_id, ref)
) WITHOUT ROWID;

-- A repository that is deleted leaves its versions and requests behind: they are history, and keep its number.
CREATE TABLE versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER,
    job_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    path TEXT NOT NULL,
    "index" INTEGER NOT NULL,
    "commit" TEXT NOT NULL,
    created_at REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE UNIQUE INDEX versions_digest ON versions (organization_id, ifnull(repository_id, 0), job_type, digest);
CREATE UNIQUE INDEX versions_number ON versions (organization_id, ifnull(repository_id, 0), job_type, version);

CREATE TABLE definitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER REFERENCES repositories (id) ON DELETE CASCADE,
    job_type TEXT NOT NULL,
    path TEXT NOT NULL,
    version_id INTEGER REFERENCES versions (id),
    version INTEGER NOT NULL,
    "commit" TEXT NOT NULL,
    state TEXT NOT NULL,
    problems TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    max_concurrency INTEGER,
    updated_at REAL NOT NULL
);
CREATE INDEX definitions_repository ON definitions (repository_id, job_type);
CREATE INDEX definitions_name ON definitions (organization_id, job_type);
CREATE INDEX definitions_version ON definitions (version_id);

CREATE TABLE crons (
    definition_id INTEGER PRIMARY KEY REFERENCES definitions (id) ON DELETE CASCADE,
    last REAL NOT NULL
);

CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER,
    version_id INTEGER NOT NULL REFERENCES versions (id),
    job_type TEXT NOT NULL,
    event TEXT NOT NULL,
    ref TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    source_path TEXT NOT NULL,
    cause_key TEXT,
    user_key TEXT,
    params TEXT NOT NULL,
    tainted TEXT NOT NULL,
    priority INTEGER NOT NULL,
    max_concurrency INTEGER NOT NULL,
    scheduled_at REAL,
    description TEXT NOT NULL,
    created_by TEXT NOT NULL,
    trusted INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at REAL NOT NULL,
    execution_id INTEGER,
    executions INTEGER NOT NULL DEFAULT 0,
    has_secrets INTEGER NOT NULL DEFAULT 0,
    resume_of INTEGER,
    started_at REAL,
    ended_at REAL,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT ''
);
-- One request a cause; one live request a user_key. A request is alive while ended_at is NULL.
CREATE UNIQUE INDEX requests_cause ON requests (organization_id, cause_key) WHERE cause_key IS NOT NULL;
CREATE UNIQUE INDEX requests_user_key ON requests (organization_id, user_key)
    WHERE user_key IS NOT NULL AND ended_at IS NULL;
CREATE INDEX requests_organization ON requests (organization_id);
CREATE INDEX requests_job_type ON requests (job_type);
CREATE INDEX requests_repository ON requests (repository_id);
CREATE INDEX requests_repository_job ON requests (repository_id, job_type);
CREATE INDEX requests_repository_ref ON requests (repository_id, ref);
CREATE INDEX requests_repository_state ON requests (repository_id, state) WHERE ended_at IS NOT NULL;
CREATE INDEX requests_state ON requests (state);
CREATE INDEX requests_ref ON requests (ref);
CREATE INDEX requests_commit ON requests ("commit");
CREATE INDEX requests_ended ON requests (ended_at) WHERE ended_at IS NOT NULL;

-- How many requests have ended, so that no page counts them one by one.
CREATE TABLE ended (
    organization_id TEXT NOT NULL,
    repository_id INTEGER NOT NULL,
    job_type TEXT NOT NULL,
    state TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (organization_id, repository_id, job_type, state)
) WITHOUT ROWID;

CREATE TRIGGER requests_born_ended AFTER INSERT ON requests WHEN NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO ended VALUES (NEW.organization_id, ifnull(NEW.repository_id, 0), NEW.job_type, NEW.state, 1)
    ON CONFLICT DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER requests_revived AFTER UPDATE OF ended_at ON requests WHEN OLD.ended_at IS NOT NULL
BEGIN
    UPDATE ended SET requests = requests - 1
    WHERE organization_id = OLD.organization_id AND repository_id = ifnull(OLD.repository_id, 0)
        AND job_type = OLD.job_type AND state = OLD.state;
END;
CREATE TRIGGER requests_ended AFTER UPDATE OF ended_at ON requests WHEN NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO ended VALUES (NEW.organization_id, ifnull(NEW.repository_id, 0), NEW.job_type, NEW.state, 1)
    ON CONFLICT DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER requests_deleted AFTER DELETE ON requests WHEN OLD.ended_at IS NOT NULL
BEGIN
    UPDATE ended SET requests = requests - 1
    WHERE organization_id = OLD.organization_id AND repository_id = ifnull(OLD.repository_id, 0)
        AND job_type = OLD.job_type AND state = OLD.state;
END;

-- Apart from their request, so that they can be wiped when it ends and no list ever touches them.
CREATE TABLE request_secrets (
    request_id INTEGER PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    params TEXT NOT NULL
);

CREATE TABLE executions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    organization_id TEXT NOT NULL,
    ended_at REAL,
    body TEXT NOT NULL
);
CREATE INDEX executions_request ON executions (request_id);

CREATE TABLE plans (
    execution_id INTEGER PRIMARY KEY REFERENCES executions (id) ON DELETE CASCADE,
    body TEXT NOT NULL
);
CREATE TRIGGER plans_never_change BEFORE UPDATE ON plans
BEGIN
    SELECT RAISE(ABORT, 'a plan never changes');
END;

-- Few: one a running task. Found by execution through their key, which begins with its number.
CREATE TABLE leases (
    task_execution_id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    execution_id INTEGER NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    request_id INTEGER NOT NULL,
    task_type TEXT NOT NULL,
    ant_id TEXT NOT NULL,
    fence INTEGER NOT NULL,
    deadline REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    repository_id INTEGER,
    request_id INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    task_execution_id TEXT NOT NULL,
    task_type TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL
);
CREATE INDEX artifacts_request ON artifacts (request_id);
CREATE INDEX artifacts_organization ON artifacts (organization_id);
CREATE INDEX artifacts_repository ON artifacts (repository_id);
CREATE INDEX artifacts_digest ON artifacts (digest);
CREATE INDEX artifacts_expiry ON artifacts (expires_at) WHERE expires_at IS NOT NULL;

-- Digests that lost a row: their bytes may have to go. Written with the deletion, so that a crash forgets none.
CREATE TABLE loose_digests (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER artifacts_deleted AFTER DELETE ON artifacts WHEN OLD.digest <> ''
BEGIN
    INSERT INTO loose_digests VALUES (OLD.digest) ON CONFLICT DO NOTHING;
END;

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    forge TEXT NOT NULL,
    delivery_key TEXT NOT NULL,
    repository_id INTEGER,
    event TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    received_at REAL NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    request_ids TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (forge, delivery_key)
);
CREATE INDEX deliveries_accepted ON deliveries (repository_id) WHERE verdict = 'accepted';
CREATE INDEX deliveries_received ON deliveries (received_at);
CREATE INDEX deliveries_organization ON deliveries (organization_id);
CREATE INDEX deliveries_repository ON deliveries (repository_id);

-- A deleted repository takes its tokens along: without it they would be worth the whole organization.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    repository_id INTEGER REFERENCES repositories (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    expires_at REAL,
    used_at REAL
);
CREATE INDEX tokens_repository ON tokens (repository_id);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    organization_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    dead INTEGER NOT NULL DEFAULT 0,
    payload TEXT NOT NULL,
    UNIQUE (organization_id, kind, key)
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE dead = 0;
