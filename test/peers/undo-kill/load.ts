/** The load of the kill test of recovery points: each agent has tables of its own and destroys in them until its connection breaks. */
import pg from 'pg';

export interface Told { done: number; refused: number }

export const destroyers = ['ada', 'bob', 'cleo'] as const;
type Destroyer = (typeof destroyers)[number];

const rows = 300;

/** For each: a parent, a child that goes along, a partitioned table, and a table without a key. */
export const tablesSql = destroyers.map((agent) => `
CREATE TABLE ${agent}_parent (id int PRIMARY KEY, v text, j json, n numeric, made int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE ${agent}_child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p int REFERENCES ${agent}_parent ON DELETE CASCADE ON UPDATE CASCADE, v text);
CREATE TABLE ${agent}_part (id int, k int, v bytea, PRIMARY KEY (id, k)) PARTITION BY HASH (k);
CREATE TABLE ${agent}_part_0 PARTITION OF ${agent}_part FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE ${agent}_part_1 PARTITION OF ${agent}_part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE ${agent}_bag (n int, v text); CREATE INDEX ${agent}_bag_n ON ${agent}_bag (n); CREATE VIEW ${agent}_seen AS SELECT v, count(*) FROM ${agent}_bag GROUP BY v;
INSERT INTO ${agent}_parent SELECT i, repeat('v', i % 50), ('{"a":1, "a":' || i || '}')::json, i / 7.0 FROM generate_series(1, ${rows}) i;
INSERT INTO ${agent}_child (p, v) SELECT 1 + i % ${rows}, 'c' || i FROM generate_series(1, ${rows * 2}) i;
INSERT INTO ${agent}_part SELECT i, i % 7, decode(md5(i::text), 'hex') FROM generate_series(1, ${rows}) i;
INSERT INTO ${agent}_bag SELECT i % 10, 'same' FROM generate_series(1, ${rows}) i`).join(';\n');

/** Each row of texts is sent one by one; ten random numbers stand for `?`. No table is dropped that refers to another: docs/recovery.md says what of that does not come back in one go. */
const works: readonly (readonly string[])[] = [
  ['DELETE FROM _parent WHERE id = ?'], ['DELETE FROM _parent WHERE id % 10 = ?'], ["UPDATE _parent SET v = 'new', n = n + 1 WHERE id < 200"], ['UPDATE _parent SET id = id + 1000 WHERE id = ?'],
  ["UPDATE _child SET v = 'x' WHERE id % 10 = ?"], ['DELETE FROM _part WHERE k = ?'], ['UPDATE _part SET k = k + 1 WHERE id = ?'], ["INSERT INTO _parent VALUES (?, 'up') ON CONFLICT (id) DO UPDATE SET v = excluded.v"],
  ['BEGIN', 'DELETE FROM _parent WHERE id % 10 = ?', "UPDATE _part SET v = '\\x00' WHERE id % 10 = ?", 'COMMIT'], ['BEGIN', 'DELETE FROM _child WHERE id % 10 = ?', 'ROLLBACK'],
  ['BEGIN', 'SAVEPOINT s', 'DELETE FROM _child WHERE id % 10 = ?', 'ROLLBACK TO s', 'DELETE FROM _part WHERE id % 10 = ?', 'COMMIT'],
  ['TRUNCATE _bag'], ['TRUNCATE _parent CASCADE'], ['DROP TABLE _bag CASCADE'], ['ALTER TABLE _part DROP COLUMN v'], ["ALTER TABLE _parent ALTER COLUMN n TYPE int USING 0"],
];

/** Whatever fails for another reason than a lost connection is the agent's daily life, and is counted. */
export async function destroyUntilGone(url: string, agent: Destroyer, random: (below: number) => number, told: Told, next: () => void): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  let isGone = false;
  client.on('error', () => { isGone = true; }).on('end', () => { isGone = true; });
  try {
    await client.connect();
    while (!isGone) await work(client, works[random(works.length)] ?? [], agent, random, told, next);
  } catch (error) {
    if (!isGone && !isBroken(error)) throw error;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function work(client: pg.Client, texts: readonly string[], agent: Destroyer, random: (below: number) => number, told: Told, next: () => void): Promise<void> {
  try {
    for (const text of texts) {
      await client.query(text.replace(/ _/g, ` ${agent}_`).replace('?', String(random(10))));
      next();
    }
    told.done += 1;
  } catch (error) {
    if (isBroken(error) || !(error instanceof pg.DatabaseError)) throw error;
    told.refused += 1;
    next();
    await client.query('ROLLBACK');
  }
}

/** What a client sees when the process behind its connection is gone, or the server behind that. */
function isBroken(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', '57P01', '57P02', '57P03', '08006', '08003', '08007'].includes(String(error.code)))
    || /Connection terminated|not queryable|connection error|Client was closed/i.test(error.message);
}
