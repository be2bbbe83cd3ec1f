-- Whether the operator named the tracked branch; else it is the one that HEAD named, and follows it when it is gone.

ALTER TABLE repositories ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
