-- What is searched is written once and never changes, so that an update need not touch the index.

CREATE TRIGGER IF NOT EXISTS requests_searched AFTER INSERT ON requests
BEGIN
    INSERT INTO requests_fts (rowid, job_type, ref, "commit", description, created_by)
    VALUES (NEW.id, NEW.job_type, NEW.ref, NEW."commit", NEW.description, NEW.created_by);
END;

CREATE TRIGGER IF NOT EXISTS requests_not_searched AFTER DELETE ON requests
BEGIN
    INSERT INTO requests_fts (requests_fts, rowid, job_type, ref, "commit", description, created_by)
    VALUES ('delete', OLD.id, OLD.job_type, OLD.ref, OLD."commit", OLD.description, OLD.created_by);
END;
