/** postgres.js: tagged templates, pipelining on one connection, cursors, its own cache of statements, COPY and notifications. */
import { readFileSync } from 'node:fs';
import postgres from 'postgres';
import { text } from 'node:stream/consumers';
import { endless, fails, note, oneToTwelve, repeatedly, run, types } from './scenario.mjs';

// [connect
const url = new URL(process.env.DATABASE_URL);
const rootCertificate = url.searchParams.get('sslrootcert');
url.searchParams.delete('sslrootcert');
const sql = postgres(url.href, { max: 1, ...(rootCertificate === null ? {} : { ssl: { ca: readFileSync(rootCertificate) } }) });
// connect]

const rows = async (query) => (await query).map((row) => ({ ...row }));

await run({
  read: async () => {
    let portions = 0;
    for await (const portion of sql`SELECT id FROM orders ORDER BY id`.cursor(300)) portions += portion.length;
    return [
      await Promise.all(oneToTwelve.map((id) => rows(sql`SELECT name FROM customers WHERE id = ${id}`))), await rows(sql.unsafe(types)),
      portions, await fails(sql`SELECT 1/0`), await rows(sql`SELECT 1 AS one`),
    ];
  },
  held: async () => [await rows(sql`INSERT INTO notes ${sql({ id: note, body: 'postgres.js' })} RETURNING id`), await rows(sql`SELECT body FROM notes WHERE id = ${note}`)],
  held_in_transaction: async () => {
    const undone = new Error('undone');
    await sql.begin(async (inside) => {
      await inside`INSERT INTO notes VALUES (${note + 1}, 'taken back')`;
      throw undone;
    }).catch((error) => { if (error !== undone) throw error; });
    await sql.begin((inside) => inside`INSERT INTO notes VALUES (${note + 2}, 'stays')`);
    return rows(sql`SELECT id, body FROM notes WHERE id IN ${sql([note + 1, note + 2])}`);
  },
  denied: async () => [await fails(sql`UPDATE customers SET name = ${'changed'} WHERE id = ${5}`), await rows(sql`SELECT name FROM customers WHERE id = 5`)],
  refused: async () => [await fails(sql`DELETE FROM payments`), await rows(sql`SELECT count(*) FROM payments`)],
  refused_in_transaction: async () => {
    const reserved = await sql.reserve();
    await reserved`BEGIN`;
    const seen = [await rows(reserved`SELECT count(*) FROM payments`), await fails(reserved`DELETE FROM payments`), await fails(reserved`SELECT 1`)];
    await reserved`ROLLBACK`;
    reserved.release();
    return [...seen, await rows(sql`SELECT count(*) FROM payments`)];
  },
  cancel: async () => {
    const query = sql.unsafe(endless('a'));
    return [await repeatedly(() => query.cancel(), () => fails(query)), await rows(sql`SELECT 1 AS one`)];
  },
  reconnect: async () => {
    await sql.unsafe(endless('lost')).then(() => { throw new Error('it ran, and must not'); }, () => undefined);
    // What is asked before the driver has seen its connection close fails with the same error.
    for (let left = 10; ; left -= 1) {
      try { return await rows(sql`SELECT count(*) FROM customers`); } catch (error) { if (left === 0) throw error; }
    }
  },
  own_copy: async () => {
    const into = await sql`COPY notes FROM STDIN`.writable();
    await new Promise((resolve, reject) => {
      into.on('finish', resolve).on('error', reject);
      into.end(oneToTwelve.map((i) => `${note + 10 + i}\tcopied\n`).join(''));
    });
    const out = await text(await sql`COPY (SELECT id, name FROM customers ORDER BY id LIMIT 3) TO STDOUT`.readable());
    return [out, await rows(sql`SELECT count(*) FROM notes WHERE id BETWEEN ${note + 10} AND ${note + 30}`)];
  },
  own_notify: () => new Promise((resolve, reject) => {
    sql.listen('news', (payload) => resolve(payload)).then(() => sql.notify('news', 'hello')).catch(reject);
  }),
  own_array_types: () => rows(sql`SELECT id FROM every_type WHERE an_enum = ANY(${sql.array(['busy'])}::mood[])`),
});
