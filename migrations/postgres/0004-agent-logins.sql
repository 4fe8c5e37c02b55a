-- How an agent proves who it is (by its token or by a certificate), and how many connections it may have at once.

ALTER TABLE agent ADD COLUMN login TEXT COLLATE "C" NOT NULL DEFAULT 'token';
ALTER TABLE agent ADD COLUMN connections_max BIGINT;
