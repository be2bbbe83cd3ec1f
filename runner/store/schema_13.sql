-- Tasks of an execution that has many of them: PER_PART in each part (parts.py). Small ones have them in their own row.
CREATE TABLE execution_parts (
    execution_id INTEGER NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (execution_id, part)
);
