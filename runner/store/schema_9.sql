-- The dialect of definitions: what a repository's are written in, and what a version was read as.

ALTER TABLE repositories ADD COLUMN dialect TEXT NOT NULL DEFAULT 'native';
ALTER TABLE versions ADD COLUMN dialect TEXT NOT NULL DEFAULT 'native';
