-- The full-text index is filled in bulk (writer.py), because one row at a time costs a third of a request's writing.
-- `searched` is the last request in it; the few after it are searched as they are. What is searched never changes.

ALTER TABLE store ADD COLUMN searched INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER requests_not_searched AFTER DELETE ON requests WHEN OLD.id <= (SELECT searched FROM store)
BEGIN
    INSERT INTO requests_fts (requests_fts, rowid, job_type, ref, "commit", description, created_by)
    VALUES ('delete', OLD.id, OLD.job_type, OLD.ref, OLD."commit", OLD.description, OLD.created_by);
END;
