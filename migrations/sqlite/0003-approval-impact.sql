-- What a statement would change, as measured when its approval was asked for: numbers, and up to five sample rows that only
-- the approver sees. Of what was asked before, nothing was measured.
ALTER TABLE approval ADD COLUMN impact TEXT NOT NULL DEFAULT '{"kind":"none"}';
