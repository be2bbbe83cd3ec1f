-- Repositories that lie elsewhere, and the forge whose hooks and statuses they have. Since when an effect is owed.

ALTER TABLE repositories ADD COLUMN url TEXT NOT NULL DEFAULT '';
ALTER TABLE repositories ADD COLUMN forge TEXT NOT NULL DEFAULT '';
ALTER TABLE repositories ADD COLUMN slug TEXT NOT NULL DEFAULT '';
ALTER TABLE repositories ADD COLUMN api_url TEXT NOT NULL DEFAULT '';
ALTER TABLE repositories ADD COLUMN poll REAL;
ALTER TABLE repositories ADD COLUMN fork_policy TEXT NOT NULL DEFAULT 'ask';
ALTER TABLE outbox ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
