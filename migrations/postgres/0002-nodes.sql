-- Nodes: the processes that serve from this store, each with a lease that it renews. A permit belongs to the node that
-- issued it, so that it can be resolved when that node is gone. Secrets that all nodes of one store share.

CREATE TABLE node (
  id TEXT COLLATE "C" PRIMARY KEY,
  -- The data folder it serves from: whoever holds its claim knows that earlier nodes of the same place are dead.
  place TEXT COLLATE "C" NOT NULL,
  host TEXT COLLATE "C" NOT NULL,
  pid BIGINT NOT NULL,
  started_at TEXT COLLATE "C" NOT NULL,
  -- Milliseconds since 1970 on the clock of the store.
  lease_until BIGINT NOT NULL
);

ALTER TABLE open_permit ADD COLUMN node_id TEXT COLLATE "C";
CREATE INDEX open_permit_by_node ON open_permit (node_id);

CREATE TABLE shared_secret (
  name TEXT COLLATE "C" PRIMARY KEY,
  value TEXT COLLATE "C" NOT NULL
);
