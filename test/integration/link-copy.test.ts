/**
 * Own COPY on a link to a real PostgreSQL: whole rows out at the speed of the writer and rows in at the speed of the server, in
 * flat memory, and after whatever goes wrong a link that is as usable as before.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Failure } from '../../src/core/failure.ts';
import { encodeQuery } from '../../src/lib/pgwire/frontend-encode.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { ServerError } from '../../src/remote/postgres/server-error.ts';
import { sessionOf } from '../../src/remote/postgres/transaction-session.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

let server: PostgresServer;
const open: Link[] = [];

before(async () => {
  server = await startPostgresServer();
  await server.run("create table wide (id int primary key, word text); insert into wide select i, repeat(md5(i::text), 8) from generate_series(1, 200000) i");
  await server.run('create table taken (like wide including all)');
});

after(async () => {
  for (const link of open) link.destroy();
  await server.stop();
});

async function connect(): Promise<Link> {
  const link = await connectLink(parseConnectionString(`${server.url()}?sslmode=disable`));
  open.push(link);
  return link;
}

async function one(link: Link, sql: string): Promise<string | null | undefined> {
  return (await link.query(sql)).rows[0]?.[0];
}

/** Or what is measured is when the collector last ran, and not what is held. */
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Rows as COPY prints them, so many bytes at a time. */
async function* printed(rows: number, cut = 64 * 1024): AsyncGenerator<Buffer> {
  let text = '';
  for (let id = 1; id <= rows; id += 1) {
    text += `${id}\tword ${id}\n`;
    if (text.length < cut) continue;
    yield Buffer.from(text);
    text = '';
  }
  if (text !== '') yield Buffer.from(text);
}

/** So that a test says what ran in the session, nothing of ours may be left in it. */
async function assertUsable(link: Link): Promise<void> {
  assert.equal(await one(link, "select count(*) from pg_prepared_statements where name like 'own%' and statement not like '%pg_prepared_statements%'"), '0');
}

test('rows come out whole, in order and all of them, and the writer holds them back', async () => {
  const link = await connect();
  const hash = createHash('sha256');
  const baseline = process.memoryUsage().external;
  let [bytes, writing, memoryMax, parts] = [0, 0, 0, 0];
  const rows = await link.copyOut('COPY (SELECT * FROM wide ORDER BY id) TO STDOUT', async (part) => {
    writing += 1;
    assert.equal(writing, 1, 'one part at a time');
    assert.equal(part.at(-1), 0x0a);
    await new Promise((resolve) => { setImmediate(resolve); });
    bytes += part.length;
    parts += 1;
    if (parts % 50 === 0) {
      collectGarbage();
      memoryMax = Math.max(memoryMax, process.memoryUsage().external - baseline);
    }
    hash.update(part);
    writing -= 1;
  });
  assert.equal(rows, 200_000);
  assert.ok(bytes > 50_000_000, String(bytes));
  assert.ok(parts > 500 && memoryMax < 8 * 1024 * 1024, `${memoryMax} bytes were held`);
  const expected = await one(link, "select encode(sha256(convert_to(string_agg(id || E'\\t' || word || E'\\n', '' order by id), 'UTF8')), 'hex') from wide");
  assert.equal(hash.digest('hex'), expected);
  await assertUsable(link);
});

test('a writer that returns nothing is not waited for', async () => {
  const link = await connect();
  const parts: Buffer[] = [];
  assert.equal(await link.copyOut("COPY (VALUES (1, 'a'), (2, E'b\\n')) TO STDOUT", (part) => { parts.push(part); return undefined; }), 2);
  assert.equal(Buffer.concat(parts).toString(), '1\ta\n2\tb\\n\n');
  assert.equal(await link.copyOut('COPY (SELECT 1 WHERE false) TO STDOUT', () => { throw new Error('there is no row'); }), 0);
});

test('a writer that stops for good holds the server, not memory', async () => {
  const link = await connect();
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  let bytes = 0;
  const copied = link.copyOut('COPY wide TO STDOUT', (part) => { bytes += part.length; return held; });
  for (;;) {
    const [row] = await server.run(`select wait_event from pg_stat_activity where pid = ${link.processId}`);
    if (row?.['wait_event'] === 'ClientWrite') break;
  }
  assert.ok(bytes < 1024 * 1024, String(bytes));
  assert.equal(link.isAsking, true);
  release();
  assert.equal(await copied, 200_000);
  assert.equal(link.isAsking, false);
});

const failing: readonly { readonly why: string; readonly run: (link: Link) => Promise<unknown>; readonly error: (error: unknown) => boolean }[] = [
  { why: 'the statement is wrong', run: (link) => link.copyOut('COPY nowhere TO STDOUT', () => undefined), error: (error) => error instanceof ServerError && error.code === '42P01' },
  { why: 'the statement to copy in is wrong', run: (link) => link.copyIn('COPY nowhere FROM STDIN', printed(10)), error: (error) => error instanceof ServerError && error.code === '42P01' },
  {
    why: 'the server fails between rows', run: (link) => link.copyOut('COPY (SELECT 1 / (100000 - id) FROM wide ORDER BY id) TO STDOUT', async () => {}),
    error: (error) => error instanceof ServerError && error.code === '22012',
  },
  { why: 'the writer fails', run: (link) => link.copyOut('COPY wide TO STDOUT', () => Promise.reject(new Error('disk full'))), error: (error) => error instanceof Error && error.message === 'disk full' },
  { why: 'the writer throws', run: (link) => link.copyOut('COPY wide TO STDOUT', () => { throw new Error('disk full'); }), error: (error) => error instanceof Error && error.message === 'disk full' },
  {
    why: 'the writer fails at the last rows', run: (link) => link.copyOut('COPY (VALUES (1)) TO STDOUT', () => Promise.reject(new Error('disk full'))),
    error: (error) => error instanceof Error && error.message === 'disk full',
  },
  { why: 'a row cannot be read', run: (link) => link.copyIn('COPY taken FROM STDIN', printed(5, 1)), error: (error) => error instanceof ServerError && error.code === '23505' },
  {
    why: 'a row is refused while many are to come', run: (link) => link.copyIn('COPY taken FROM STDIN', printed(300_000)),
    error: (error) => error instanceof ServerError && error.code === '23505',
  },
  {
    why: 'the source fails', run: (link) => link.copyIn('COPY taken FROM STDIN', (async function* source() { yield Buffer.from('1000\ta\n'); throw new Error('unreadable'); })()),
    error: (error) => error instanceof Error && error.message === 'unreadable',
  },
];

for (const { why, run, error } of failing) {
  test(`the link and its transaction can be used again when ${why}`, async () => {
    const link = await connect();
    await server.run("truncate taken; insert into taken values (3, 'in the way')");
    await assert.rejects(run(link), (thrown) => { assert.ok(error(thrown), String(thrown)); return true; });
    await assertUsable(link);
    assert.equal(await one(link, 'select count(*) from taken'), '1');

    await link.query('begin');
    await link.query('savepoint mine');
    await assert.rejects(run(link), error);
    await link.query('rollback to mine');
    assert.equal(await link.copyIn('COPY taken FROM STDIN', printed(2)), 2);
    await link.query('commit');
    assert.equal(await one(link, 'select count(*) from taken'), '3');
    await assertUsable(link);
  });
}

test('rows go in at the speed of the server, in flat memory', async () => {
  const link = await connect();
  await server.run('truncate taken');
  let bytesUnsentMax = 0;
  const source = async function* source(): AsyncGenerator<Buffer> {
    for await (const part of printed(400_000)) {
      bytesUnsentMax = Math.max(bytesUnsentMax, link.bytesUnsent);
      yield part;
    }
  };
  assert.equal(await link.copyIn('COPY taken FROM STDIN', source()), 400_000);
  assert.ok(bytesUnsentMax < 256 * 1024, String(bytesUnsentMax));
  assert.equal(await one(link, "select count(*) from taken where word = 'word ' || id"), '400000');
});

test('the source is not asked for more once the server has refused', async () => {
  const link = await connect();
  await server.run("truncate taken; insert into taken values (3, 'in the way')");
  let ended = false;
  const source = async function* source(): AsyncGenerator<Buffer> {
    try {
      for (let id = 1; ; id += 1) yield Buffer.from(`${id}\t${'x'.repeat(10_000)}\n`);
    } finally {
      ended = true;
    }
  };
  await assert.rejects(link.copyIn('COPY taken FROM STDIN', source()), (error) => error instanceof ServerError && error.code === '23505');
  await assertUsable(link);
  assert.equal(ended, true);
});

test('a lost connection ends a copy either way', async () => {
  for (const run of [
    (link: Link) => link.copyOut('COPY (SELECT pg_sleep(3600)) TO STDOUT', () => undefined),
    (link: Link) => link.copyIn('COPY taken FROM STDIN', (async function* source() { yield Buffer.from('1\ta\n'); await new Promise(() => { /* for ever */ }); })()),
  ]) {
    const link = await connect();
    const copied = run(link);
    await server.run(`select pg_terminate_backend(${link.processId}, 10000)`);
    await assert.rejects(copied, (error) => error instanceof Failure && error.code === 'upstream_unavailable');
  }
});

test('a server that says nothing for too long loses its connection; a writer may take its time', async () => {
  const link = await connect();
  await assert.rejects(link.copyOut('COPY (SELECT pg_sleep(3600)) TO STDOUT', () => undefined, 50), /lost/);
  const other = await connect();
  const slow = (): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 400); });
  assert.equal(await other.copyOut('COPY (VALUES (1)) TO STDOUT', slow, 200), 1);
  await assertUsable(other);
});

test('questions wait for a copy, and what the server says on its own goes to the relay', async () => {
  const link = await connect();
  const heard: Buffer[] = [];
  link.relay({ onData: (chunk) => { heard.push(chunk); }, onDrain: () => { /* nothing waits */ }, onClose: () => { /* the end of the test */ } });
  const session = sessionOf(link);
  const order: string[] = [];
  await Promise.all([
    session.copyOut("COPY (SELECT set_config('application_name', 'told', false)) TO STDOUT", async () => {
      await new Promise((resolve) => { setImmediate(resolve); });
      order.push('copied');
    }),
    session.query('select 1').then((rows) => { order.push(`asked ${rows[0]?.[0]}`); }),
  ]);
  assert.deepEqual(order, ['copied', 'asked 1']);
  assert.match(Buffer.concat(heard).toString('latin1'), /^S.{4}application_name\0told\0$/s);
  link.write(encodeQuery('select 1'));
  assert.throws(() => link.copyOut('COPY wide TO STDOUT', () => undefined), /busy/);
});

test('what is to come first goes with the first question, or before the first copy, and once', async () => {
  const link = await connect();
  const session = sessionOf(link, ['begin', "set local application_name to 'first'"]);
  assert.deepEqual(await session.queries([{ sql: 'show application_name' }, { sql: 'select 2' }]).then((answers) => answers.map(({ rows }) => rows)), [[['first']], [['2']]]);
  assert.deepEqual(await session.query("select now() = statement_timestamp(), current_setting('application_name')"), [['f', 'first']]);
  await link.query('rollback');
  const copying = sessionOf(link, ['begin', "set local application_name to 'first'"]);
  const rows: string[] = [];
  await copying.copyOut("COPY (SELECT current_setting('application_name')) TO STDOUT", (part) => { rows.push(part.toString()); return undefined; });
  assert.deepEqual(rows, ['first\n']);
  await link.query('rollback');
  const failing = sessionOf(link, ['begin', 'select 1/0']);
  await assert.rejects(failing.copyIn('COPY taken FROM STDIN', printed(3)), (error) => error instanceof ServerError && error.code === '22012');
  await link.query('rollback');
  assert.equal(await one(link, 'select count(*) from taken where id <= 3 and word = (\'word \' || id)'), '0');
});
