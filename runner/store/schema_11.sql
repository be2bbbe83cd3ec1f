-- Forked jobs: the request that forked this one, and the attempt (a task execution) on which it hangs.

ALTER TABLE requests ADD COLUMN parent_id INTEGER;
ALTER TABLE requests ADD COLUMN parent_task TEXT NOT NULL DEFAULT '';
CREATE INDEX requests_parent ON requests (parent_id) WHERE parent_id IS NOT NULL;
