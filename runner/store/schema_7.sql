-- The number of each organization's newest event, so that events rise without gaps.

CREATE TABLE sequences (
    organization_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;
