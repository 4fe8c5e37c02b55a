-- Recovery points: where what undoes an action lies, whose it is, and what became of its transaction. What can be undone is
-- decided by the manifest in the bucket; this finds it.
CREATE TABLE recovery_point (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  agent TEXT NOT NULL,
  session_id TEXT NOT NULL,
  database_name TEXT NOT NULL,
  scope TEXT NOT NULL,
  method TEXT NOT NULL,
  -- Where its manifest lies: the object, and the SHA-256 of its line.
  pack TEXT NOT NULL,
  line TEXT NOT NULL,
  row_count INTEGER NOT NULL,
  byte_count INTEGER NOT NULL,
  -- A JSON list, in the order of the batch; the table below finds them.
  actions TEXT NOT NULL,
  -- The server and the transaction on it, decimal.
  system_id TEXT NOT NULL,
  timeline INTEGER NOT NULL,
  xid TEXT NOT NULL,
  -- A JSON list of the points that its action undoes; null: it is no undo.
  undoes TEXT,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  -- Whose transaction it belongs to while it is sealed.
  node_id TEXT,
  -- 0 once a purge has removed its objects.
  objects_left INTEGER NOT NULL DEFAULT 1
);
-- Ids sort by age.
CREATE INDEX recovery_point_by_state ON recovery_point (state, id);
CREATE INDEX recovery_point_by_agent ON recovery_point (agent, id);
CREATE INDEX recovery_point_by_pack ON recovery_point (pack);

-- One point covers all actions of a batch.
CREATE TABLE recovery_point_action (
  action_id TEXT NOT NULL,
  point_id TEXT NOT NULL,
  PRIMARY KEY (action_id, point_id)
);

-- Objects that a point needs beside its pack.
CREATE TABLE recovery_point_chunk (
  name TEXT NOT NULL,
  point_id TEXT NOT NULL,
  PRIMARY KEY (name, point_id)
);
CREATE INDEX recovery_point_chunk_by_point ON recovery_point_chunk (point_id);
