/**
 * Capture by transition tables in a transaction of a link to a real PostgreSQL, as an ordinary owner of its tables: the images
 * of everything that a statement changes reach the draft, printed without loss, and nothing of it stays in the session.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import type { KeptRows } from '../../src/core/recovery/manifest.ts';
import type { CapturedContents } from '../../src/flow/protect.ts';
import { openFolderBucket } from '../../src/remote/bucket/folder.ts';
import { RowsWriter } from '../../src/remote/bucket/rows-writer.ts';
import { createOpener, createSeal } from '../../src/remote/bucket/seal.ts';
import { readStoredRows } from '../../src/remote/bucket/stored-point.ts';
import { createTransitionsCapture } from '../../src/remote/postgres/capture/capture-transitions.ts';
import { catalogVersion } from '../../src/remote/postgres/catalog.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { ServerError } from '../../src/remote/postgres/server-error.ts';
import { sessionOf } from '../../src/remote/postgres/transaction-session.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'capture-'));
let server: PostgresServer;
let writer: () => RowsWriter;
const open: Link[] = [];

const schema = `
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE "odd.name" ("a ""key""" int PRIMARY KEY, at timestamptz, f float8, i interval, "sum" int GENERATED ALWAYS AS ("a ""key""" * 2) STORED);
CREATE TABLE parted (id int, region int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE keyless (id int);
CREATE TABLE trigger_words (found int PRIMARY KEY, tg_op text, new text, old_rows text); INSERT INTO trigger_words VALUES (1, 'a', 'b', 'c');
INSERT INTO parent SELECT i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO child SELECT i, 1 + i % 10 FROM generate_series(1, 20) i;
INSERT INTO "odd.name" VALUES (1, '2020-01-02 03:04:05.678901+00', 0.1::float8 + 0.2, '1 mon -2 days 00:00:00.5');
CREATE TABLE much (id int, k int, v text, PRIMARY KEY (id, k)); INSERT INTO much SELECT i, i % 3, 'v' FROM generate_series(1, 11000) i;
INSERT INTO parted SELECT i, 1 FROM generate_series(1, 5) i;
`;

before(async () => {
  server = await startPostgresServer();
  await server.run("CREATE ROLE owner LOGIN PASSWORD 'p'");
  await server.run('CREATE DATABASE shop OWNER owner');
  await server.run(`SET ROLE owner; ${schema}`, 'shop');
  const closing = { bucket: await openFolderBucket(folder), seal: await createSeal([]), chunkBytes: 1_000_000 };
  writer = () => new RowsWriter(closing);
});

after(async () => {
  for (const link of open) link.destroy();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function connect(): Promise<Link> {
  const link = await connectLink(parseConnectionString(`postgres://owner:p@127.0.0.1:${server.port}/shop?sslmode=disable`));
  open.push(link);
  return link;
}

/** What the statements change, in a transaction that is rolled back. */
async function captured(link: Link, tables: readonly string[], ...statements: readonly string[]): Promise<CapturedContents> {
  await link.query('BEGIN');
  try {
    const capture = createTransitionsCapture(sessionOf(link), tables, { rows: writer });
    await capture.before();
    for (const one of statements) await link.query(one);
    return await capture.after(undefined);
  } finally {
    await link.query('ROLLBACK');
  }
}

/** Of any number of rows. */
async function linesOf(rows: KeptRows | undefined): Promise<readonly string[]> {
  let text = '';
  if (rows !== undefined) for await (const piece of readStoredRows({ bucket: await openFolderBucket(folder), opener: await createOpener([]) }, rows)) text += piece.toString();
  return text.split('\n').slice(0, -1).toSorted();
}
const lines = (rows: KeptRows | undefined): readonly string[] | undefined => rows?.inline?.split('\n').slice(0, -1).toSorted();
const shown = ({ tables }: CapturedContents): unknown => Object.fromEntries(tables.map(({ name, before: was, after: is }) => [name, { was: lines(was), is: lines(is) }]));

describe('the images of a statement', () => {
  it('hold what it changes by itself and through keys, and leave out what it does not reach', async () => {
    const link = await connect();
    const contents = await captured(link, ['public.parent', 'public.child', 'public.parted'], 'DELETE FROM parent WHERE id = 3', "UPDATE parent SET v = 'w' WHERE id = 4", "INSERT INTO parent VALUES (11, NULL)");
    assert.deepEqual(shown(contents), {
      'public.parent': { was: ['3\tv3', '4\tv4'], is: ['11\t\\N', '4\tw'] },
      'public.child': { was: ['12\t3', '2\t3'], is: [] },
    });
    const [row] = await server.run('SELECT system_identifier::text AS id FROM pg_control_system()');
    assert.deepEqual(contents.server, { systemId: row?.['id'], major: 18, timeline: 1 });
    assert.match(`${contents.xid} ${contents.lsn}`, /^\d+ [0-9A-F]+\/[0-9A-F]+$/);
    assert.equal((await link.query(`SELECT pg_xact_status('${contents.xid}')`)).rows[0]?.[0], 'aborted');
  });

  it('are none where nothing was changed', async () => {
    assert.deepEqual((await captured(await connect(), ['public.parent'], 'DELETE FROM parent WHERE id = -1')).tables, []);
    assert.deepEqual(lines((await captured(await connect(), ['public.parent'], 'UPDATE parent SET v = v WHERE id = 1')).tables[0]?.before), []);
  });

  it('are the same of many rows, whether each was touched once or some of them more than once', async () => {
    const expected = (value: string): readonly string[] => Array.from({ length: 11_000 }, (_one, index) => `${index + 1}\t${(index + 1) % 3}\t${value}`).toSorted();
    for (const [statements, is] of [
      [["UPDATE much SET v = 'w'"], expected('w')], [["UPDATE much SET v = 'w'", "UPDATE much SET v = 'x'"], expected('x')], [['DELETE FROM much'], []],
      [["UPDATE much SET v = 'w'", 'DELETE FROM much WHERE id > 5'], expected('w').filter((line) => Number(line.split('\t')[0]) <= 5)],
    ] as const) {
      const { tables: [table] } = await captured(await connect(), ['public.much'], ...statements);
      assert.deepEqual([await linesOf(table?.before), await linesOf(table?.after)], [expected('v'), is], statements.join('; '));
    }
  });

  it('are of partitions too, named by themselves', async () => {
    const contents = await captured(await connect(), ['public.parted'], 'DELETE FROM parted_1 WHERE id = 1');
    assert.deepEqual(shown(contents), { 'public.parted': { was: ['1\t1'], is: [] } });
  });

  it('are printed without loss, whatever the session prints like, which it does again afterwards', async () => {
    const link = await connect();
    const told: string[] = [];
    link.relay({ onData: (chunk) => { told.push(chunk.toString('latin1')); }, onDrain: () => undefined, onClose: () => undefined });
    const settings = { DateStyle: 'SQL, DMY', IntervalStyle: 'sql_standard', extra_float_digits: '-10', TimeZone: 'Asia/Kolkata', search_path: 'nowhere, "$user"', bytea_output: 'escape' };
    for (const [name, value] of Object.entries(settings)) await link.query(`SELECT set_config($1, $2, false)`, [name, value]);
    told.length = 0;
    const contents = await captured(link, ['public."odd.name"'], 'UPDATE public."odd.name" SET f = f + 1');
    assert.deepEqual(shown(contents), { 'public."odd.name"': { was: ['1\t2020-01-02 08:34:05.678901+05:30\t0.30000000000000004\t1 mon -2 days +00:00:00.5'], is: ['1\t2020-01-02 08:34:05.678901+05:30\t1.3\t1 mon -2 days +00:00:00.5'] } });
    assert.deepEqual(contents.tables[0]?.columns, ['"a ""key"""', 'at', 'f', 'i']);
    assert.deepEqual([contents.settings['DateStyle'], contents.settings['TimeZone']], ['ISO, DMY', 'Asia/Kolkata']);
    for (const [name, value] of Object.entries(settings)) assert.equal((await link.query(`SELECT current_setting($1)`, [name])).rows[0]?.[0], value);
    assert.deepEqual(told, []);
  });

  it('are of columns that are called as PL/pgSQL calls its variables', async () => {
    const contents = await captured(await connect(), ['public.trigger_words'], "UPDATE trigger_words SET new = 'd'", 'INSERT INTO trigger_words VALUES (2)', 'DELETE FROM trigger_words WHERE found = 2');
    assert.deepEqual(shown(contents), { 'public.trigger_words': { was: ['1\ta\tb\tc'], is: ['1\ta\td\tc'] } });
  });

  it('leave nothing in the session, and in the end nothing that others see of the catalog', async () => {
    const link = await connect();
    const other = await connect();
    const version = (): Promise<string> => catalogVersion(async (sql) => (await other.query(sql)).rows);
    const run = async (): Promise<void> => {
      await link.query('BEGIN');
      const capture = createTransitionsCapture(sessionOf(link), ['public.parent', 'public.child'], { rows: writer });
      await capture.before();
      await link.query('UPDATE parent SET v = v');
      await capture.after(undefined);
      await link.query('COMMIT');
      assert.deepEqual((await link.query(`SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema() UNION ALL SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
        UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal`)).rows, []);
    };
    await run();
    const before = await version();
    await run();
    assert.equal(await version(), before);
  });

  it('are captured several times in one transaction, and again after a rollback to a savepoint', async () => {
    const link = await connect();
    await link.query('BEGIN');
    const once = async (sql: string): Promise<unknown> => {
      const capture = createTransitionsCapture(sessionOf(link), ['public.parent'], { rows: writer });
      await capture.before();
      await link.query(sql);
      return shown(await capture.after(undefined));
    };
    await link.query('SAVEPOINT s');
    assert.deepEqual(await once("UPDATE parent SET v = 'a' WHERE id = 1"), { 'public.parent': { was: ['1\tv1'], is: ['1\ta'] } });
    assert.deepEqual(await once("UPDATE parent SET v = 'b' WHERE id = 1"), { 'public.parent': { was: ['1\ta'], is: ['1\tb'] } });
    await link.query('ROLLBACK TO s');
    assert.deepEqual(await once("UPDATE parent SET v = 'c' WHERE id = 1"), { 'public.parent': { was: ['1\tv1'], is: ['1\tc'] } });
    await link.query('ROLLBACK');
  });
});

describe('a capture refuses', () => {
  it('what loses rows of a table that nobody knew it would reach, or cannot be counted', async () => {
    const isMoved = (error: unknown): boolean => error instanceof Failure && error.code === 'rows_moved';
    await assert.rejects(captured(await connect(), ['public.parent'], 'DELETE FROM parent WHERE id = 3'), isMoved);
    // Those fire at triggers and functions of ours.
    for (const event of ['ddl_command_end', 'sql_drop']) {
      await server.run(`CREATE FUNCTION clean() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.child WHERE id = 20; END $$; CREATE EVENT TRIGGER clean ON ${event} EXECUTE FUNCTION clean()`, 'shop');
      await assert.rejects(captured(await connect(), ['public.parent'], "UPDATE parent SET v = 'w' WHERE id = 3"), { code: '40001' }, event);
      await server.run('DROP EVENT TRIGGER clean; DROP FUNCTION clean', 'shop');
    }
    await server.run('ALTER DATABASE shop SET track_counts = off');
    await assert.rejects(captured(await connect(), ['public.parent'], "UPDATE parent SET v = 'w' WHERE id = 3"), isMoved);
    await server.run('ALTER DATABASE shop RESET track_counts');
  });

  const refused = (tables: readonly string[], code: string) => async (): Promise<void> => {
    await assert.rejects(captured(await connect(), tables), (error) => {
      assert.ok(error instanceof Failure && error.code === code, String(error));
      return true;
    });
  };
  it('a table without a key, found out behind the lock', refused(['public.keyless', 'public.parent'], 'feature_not_supported'));
  it('a partition by itself', refused(['public.parted_1'], 'feature_not_supported'));
  it('a table that is gone', refused(['public.parent', 'public.never'], 'schema_moved'));

  it('what it may not lock, in the words of the server', async () => {
    await server.run('CREATE TABLE theirs (id int PRIMARY KEY); GRANT SELECT, DELETE ON theirs TO owner', 'shop');
    await assert.rejects(captured(await connect(), ['public.theirs']), (error) => error instanceof ServerError && error.code === '42501');
  });
});
