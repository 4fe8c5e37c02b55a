-- The first tables, as on SQLite: the ledger with its head and open permits, approvals, and the identities of agents and
-- operators. Texts compare byte by byte, so that the order of ids and of times is the same on both stores.

CREATE TABLE ledger (
  seq BIGINT PRIMARY KEY,
  at TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  hash TEXT COLLATE "C" NOT NULL
);

-- The newest entry, so that a tail cut off is found. Every transaction that writes locks this row first.
CREATE TABLE ledger_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL,
  hash TEXT COLLATE "C" NOT NULL
);
INSERT INTO ledger_head (id, seq, hash) VALUES (1, 0, repeat('0', 64));

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append-only'; END
$$;

-- An INSERT over an old entry is refused by the primary key, and ON CONFLICT DO UPDATE by the trigger.
CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Permits whose outcome is not on record yet; derived from the ledger.
CREATE TABLE open_permit (
  action_id TEXT COLLATE "C" PRIMARY KEY,
  verdict_seq BIGINT NOT NULL
);

CREATE TABLE approval (
  id TEXT COLLATE "C" PRIMARY KEY,
  state TEXT COLLATE "C" NOT NULL,
  action_id TEXT COLLATE "C" NOT NULL,
  binding TEXT COLLATE "C" NOT NULL,
  agent TEXT COLLATE "C" NOT NULL,
  database_name TEXT COLLATE "C" NOT NULL,
  redacted TEXT COLLATE "C" NOT NULL,
  risk TEXT COLLATE "C" NOT NULL,
  verdict TEXT COLLATE "C" NOT NULL,
  requested_at TEXT COLLATE "C" NOT NULL,
  expires_at TEXT COLLATE "C" NOT NULL,
  answered_at TEXT COLLATE "C",
  answered_by TEXT COLLATE "C",
  reason TEXT COLLATE "C"
);

-- One live approval for one binding: a statement sent twice asks once.
CREATE UNIQUE INDEX approval_live_binding ON approval (binding) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_by_state ON approval (state, requested_at);

CREATE TABLE agent (
  name TEXT COLLATE "C" PRIMARY KEY,
  database_name TEXT COLLATE "C",
  verifier TEXT COLLATE "C" NOT NULL,
  created_at TEXT COLLATE "C" NOT NULL,
  rotated_at TEXT COLLATE "C",
  revoked_at TEXT COLLATE "C",
  -- Rises with every rotation and revocation; a session of an older generation ends.
  generation BIGINT NOT NULL
);

CREATE TABLE operator (
  name TEXT COLLATE "C" PRIMARY KEY,
  token_hash TEXT COLLATE "C" NOT NULL,
  created_at TEXT COLLATE "C" NOT NULL,
  revoked_at TEXT COLLATE "C"
);
