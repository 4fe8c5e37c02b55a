-- The first tables: the ledger with its head and open permits, approvals, and the identities of agents and operators.
-- Only portable types and statements, but for the triggers that keep the ledger append-only.

CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  hash TEXT NOT NULL
);

-- The newest entry, so that a tail cut off is found.
CREATE TABLE ledger_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL
);

CREATE TRIGGER ledger_is_never_updated BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_is_never_deleted BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- INSERT OR REPLACE removes the old row without asking the trigger above.
CREATE TRIGGER ledger_is_never_replaced BEFORE INSERT ON ledger WHEN EXISTS (SELECT 1 FROM ledger WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Permits whose outcome is not on record yet; derived from the ledger.
CREATE TABLE open_permit (
  action_id TEXT PRIMARY KEY,
  verdict_seq INTEGER NOT NULL
);

CREATE TABLE approval (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  action_id TEXT NOT NULL,
  binding TEXT NOT NULL,
  agent TEXT NOT NULL,
  database_name TEXT NOT NULL,
  redacted TEXT NOT NULL,
  risk TEXT NOT NULL,
  verdict TEXT NOT NULL,
  requested_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  answered_at TEXT,
  answered_by TEXT,
  reason TEXT
);

-- One live approval for one binding: a statement sent twice asks once.
CREATE UNIQUE INDEX approval_live_binding ON approval (binding) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_by_state ON approval (state, requested_at);

CREATE TABLE agent (
  name TEXT PRIMARY KEY,
  database_name TEXT,
  verifier TEXT NOT NULL,
  created_at TEXT NOT NULL,
  rotated_at TEXT,
  revoked_at TEXT,
  -- Rises with every rotation and revocation; a session of an older generation ends.
  generation INTEGER NOT NULL
);

CREATE TABLE operator (
  name TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL,
  created_at TEXT NOT NULL,
  revoked_at TEXT
);
