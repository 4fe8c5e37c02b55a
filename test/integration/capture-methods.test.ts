/**
 * A law of capture: what the cheap way finds by asking, before and after, is what triggers gather while it runs; on random rows
 * of many types, for random statements with values of the client's, few rows and many, in a transaction of ours and of a client's.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { CapturedContents } from '../../src/flow/protect.ts';
import { createTransitionsCapture } from '../../src/remote/postgres/capture/capture-transitions.ts';
import type { Capture } from '../../src/remote/postgres/capture/capture.ts';
import type { Question } from '../../src/remote/postgres/link-query.ts';
import type { Link } from '../../src/remote/postgres/link.ts';
import { sessionOf } from '../../src/remote/postgres/transaction-session.ts';
import { startRowsCaptureScene, type RowsCaptureScene } from '../fixtures/rows-capture-scene.ts';

const cases = Number(process.env['CAPTURE_CASES'] ?? 60);
const schema = `
CREATE DOMAIN small AS int CHECK (VALUE < 100000); CREATE TYPE mood AS ENUM ('calm', 'very "calm"', 'it''s');
CREATE TABLE "One" (id bigint GENERATED ALWAYS AS IDENTITY, k text, n numeric, s small, m mood, tags text[], at timestamptz, j json, span int4range, part regclass, twice bigint GENERATED ALWAYS AS (id * 2) STORED, v text, PRIMARY KEY (k, id));
CREATE TABLE "split Up" (id int, day date, v text, n float8, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE low PARTITION OF "split Up" FOR VALUES FROM (MINVALUE) TO ('2026-01-01'); CREATE TABLE high (v text, n float8, day date NOT NULL, id int NOT NULL); ALTER TABLE "split Up" ATTACH PARTITION high FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := coalesce(NEW.v, '') || '!'; RETURN NEW; END $$;
CREATE TABLE stamped (id int PRIMARY KEY, v text); CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO "One" (k, n, s, m, tags, at, j, span, part, v) SELECT chr(65 + i % 5), CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN i ELSE i / 7.0 END, i, (ARRAY['calm', 'very "calm"', 'it''s', NULL])[1 + i % 4]::mood,
  ARRAY[i::text, E'a\\tb', NULL], timestamptz '2026-03-29 00:00+00' + i * interval '7 minutes', '{"a": 1,"a":2}', int4range(i, i + 2), 'pg_class', E'line\\n' || i FROM generate_series(1, 40) i;
INSERT INTO "split Up" SELECT i, date '2025-12-15' + i, 'v' || i, i / 3.0 FROM generate_series(1, 40) i;
INSERT INTO stamped SELECT i, 'v' FROM generate_series(1, 20) i;`;

let scene: RowsCaptureScene;
let link: Link;
before(async () => {
  scene = await startRowsCaptureScene(schema);
  link = await scene.connect();
});
after(async () => { await scene?.stop(); });

interface Case { readonly table: string; readonly question: Question; readonly isInBlock: boolean; readonly rowsExpected: number | undefined }

const id = fc.integer({ min: 0, max: 45 });
const word = fc.constantFrom("''", "'it''s'", "E'\\\\t\\\\\\\\'", 'NULL', "'Ω'", "'\\N'");
const conditions: Readonly<Record<string, fc.Arbitrary<string>>> = {
  '"One"': fc.oneof(id.map((n) => `s = ${n}`), id.map((n) => `n < ${n}`), fc.constant("m = 'it''s'"), fc.constant("at > '2026-03-29 02:00+00' AND k IN ('A', 'B')"), id.map((n) => `span @> ${n}`), fc.constant("tags[1]::int % 3 = 0 OR v LIKE E'%\\n1%'")),
  '"split Up"': fc.oneof(id.map((n) => `id = ${n}`), id.map((n) => `day > date '2025-12-15' + ${n}`), id.map((n) => `n BETWEEN ${n} / 4.0 AND ${n}`), fc.constant('true')),
  stamped: fc.oneof(id.map((n) => `id <= ${n}`), id.map((n) => `id % 7 = ${n % 7}`)),
};
const settings: Readonly<Record<string, fc.Arbitrary<string>>> = {
  '"One"': fc.oneof(word.map((w) => `v = ${w}, n = n + 1.00`), fc.constant("m = 'calm', tags = tags || 'q'::text, span = NULL"), fc.constant('v = v'), id.map((n) => `s = ${n}, at = at + interval '1 day', j = '{"b":1}'`)),
  '"split Up"': fc.oneof(word.map((w) => `v = ${w}`), fc.constant("n = 'NaN'"), fc.constant('n = n * random()')), stamped: word.map((w) => `v = ${w}`),
};
const written = (table: string): fc.Arbitrary<Question> => {
  const [condition, setting] = [conditions[table] ?? fc.constant('true'), settings[table] ?? fc.constant('v = v')];
  return fc.oneof(
    condition.map((where) => ({ sql: `DELETE FROM ${table} WHERE ${where}` })), fc.constant({ sql: `DELETE FROM ${table} t` }),
    fc.tuple(setting, condition).map(([set, where]) => ({ sql: `UPDATE ${table} AS "t T" SET ${set} WHERE ${where} RETURNING *` })),
    id.map((n) => ({ sql: `UPDATE ${table} SET v = coalesce($2, v) WHERE id > $1`, values: [Buffer.from(String(n)), n % 2 === 0 ? null : Buffer.from('given')] })),
  );
};
const one: fc.Arbitrary<Case> = fc.constantFrom(...Object.keys(conditions)).chain((table) => fc.record({
  table: fc.constant(table), question: written(table), isInBlock: fc.boolean(), rowsExpected: fc.constantFrom(undefined, 10, 1_000_000),
}));

/** As multisets, without what is on both sides: a row that reads as before is no change. */
async function net({ tables }: CapturedContents): Promise<{ readonly was: readonly string[]; readonly is: readonly string[] }> {
  const [was, is] = await Promise.all([tables[0]?.before, tables[0]?.after].map(async (rows) => (await scene.textOf(rows)).split('\n').slice(0, -1)));
  const left = [...is ?? []];
  const gone = (was ?? []).filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
  return { was: gone.toSorted(), is: left.toSorted() };
}

test('asking for rows and gathering them give the same images', async () => {
  let changing = 0;
  await fc.assert(fc.asyncProperty(one, fc.integer({ min: 0, max: 99 }), async ({ table, question, isInBlock, rowsExpected }, seed) => {
    const key = `public.${table === 'stamped' ? table : table.slice(1, -1)}`;
    const run = async (capture: Capture): Promise<CapturedContents> => {
      await link.query(`SELECT setseed(${seed / 100})`);
      await capture.before();
      const { command } = await link.ask(question);
      return capture.after(command.rows ?? undefined);
    };
    await link.query('BEGIN');
    try {
      if (isInBlock) {
        await link.query(`UPDATE ${table} SET v = v || '.' WHERE id % 2 = 0`);
        await link.query('SAVEPOINT one');
        await link.query(`UPDATE ${table} SET v = v || ',' WHERE id % 3 = 0`);
        await link.query('SAVEPOINT before');
      }
      const asked = await run(scene.capture(link, question, { isInBlock, rowsExpected }));
      await link.query(isInBlock ? 'ROLLBACK TO before' : 'ROLLBACK');
      if (!isInBlock) await link.query('BEGIN');
      const gathered = await run(createTransitionsCapture(sessionOf(link), [key], { rows: scene.draftRows }));
      const expected = await net(gathered);
      if (expected.was.length > 0) changing += 1;
      assert.deepEqual(await net(asked), expected);
      assert.deepEqual(asked.tables[0]?.fingerprint, gathered.tables[0]?.fingerprint ?? asked.tables[0]?.fingerprint);
    } finally {
      await link.query('ROLLBACK');
    }
  }), { numRuns: cases });
  assert.ok(changing > cases / 2, `${changing} of ${cases} changed something`);
});
