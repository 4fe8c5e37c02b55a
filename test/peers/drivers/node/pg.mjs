/** node-postgres: a client and a pool, named statements, binary results, and notifications. */
import pg from 'pg';
import { endless, fails, note, oneToTwelve, repeatedly, run, types, url } from './scenario.mjs';

// [connect
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 });
// connect]
pool.on('error', () => undefined);

const rows = async (text, values) => (await pool.query({ text, values, rowMode: 'array' })).rows;

async function inTransaction(work) {
  const client = await pool.connect();
  try { return await work(async (text, values) => (await client.query({ text, values, rowMode: 'array' })).rows); } finally { client.release(); }
}

await run({
  read: async () => [
    await Promise.all(oneToTwelve.map((id) => rows('SELECT name FROM customers WHERE id = $1', [id]))), await rows(types),
    (await rows('SELECT id FROM orders ORDER BY id')).length, await fails(rows('SELECT 1/0')), await rows('SELECT 1'),
  ],
  held: async () => [await rows('INSERT INTO notes VALUES ($1, $2) RETURNING id', [note, 'node-postgres']), await rows('SELECT body FROM notes WHERE id = $1', [note])],
  held_in_transaction: () => inTransaction(async (query) => {
    for (const [id, body, end] of [[note + 1, 'taken back', 'ROLLBACK'], [note + 2, 'stays', 'COMMIT']]) {
      await query('BEGIN');
      await query('INSERT INTO notes VALUES ($1, $2)', [id, body]);
      await query(end);
    }
    return query('SELECT id, body FROM notes WHERE id IN ($1, $2)', [note + 1, note + 2]);
  }),
  denied: async () => [await fails(rows('UPDATE customers SET name = $1 WHERE id = $2', ['changed', 5])), await rows('SELECT name FROM customers WHERE id = 5')],
  refused: async () => [await fails(rows('DELETE FROM payments')), await rows('SELECT count(*) FROM payments')],
  refused_in_transaction: () => inTransaction(async (query) => {
    await query('BEGIN');
    const seen = [await query('SELECT count(*) FROM payments'), await fails(query('DELETE FROM payments')), await fails(query('SELECT 1'))];
    await query('ROLLBACK');
    return [...seen, await query('SELECT count(*) FROM payments')];
  }),
  cancel: async () => {
    const client = await pool.connect();
    const query = new pg.Query(endless('a'));
    const failed = await repeatedly(() => new pg.Client({ connectionString: url }).cancel(client, query), () => fails(new Promise((resolve, reject) => {
      query.on('end', resolve);
      query.on('error', reject);
      client.query(query);
    })));
    client.release();
    return [failed, await rows('SELECT 1')];
  },
  reconnect: async () => {
    await rows(endless('lost')).then(() => { throw new Error('it ran, and must not'); }, () => undefined);
    return rows('SELECT count(*) FROM customers');
  },
  own_named_statements: async () => {
    const seen = [];
    for (const id of oneToTwelve) seen.push(...(await pool.query({ name: 'customer', text: 'SELECT name FROM customers WHERE id = $1', values: [id] })).rows);
    return seen;
  },
  own_several_statements: async () => (await pool.query('SELECT 1 AS a; SELECT 2 AS b')).map((result) => result.rows),
  own_notify: async () => {
    const [ear, mouth] = [new pg.Client({ connectionString: url }), new pg.Client({ connectionString: url })];
    await Promise.all([ear.connect(), mouth.connect()]);
    const heard = new Promise((resolve) => { ear.once('notification', resolve); });
    await ear.query('LISTEN news');
    await mouth.query('SELECT pg_notify($1, $2)', ['news', 'hello']);
    const { channel, payload } = await heard;
    await Promise.all([ear.end(), mouth.end()]);
    return [channel, payload];
  },
});
