/** What is known again by its shape: SAFE reads alone, under the same catalog and place, and never for a person's answer. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { assess, assessStatement, mayRunWhenParsed } from '../../core/sql/assess.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import { measurePlan } from '../../core/sql/measure-query.ts';
import { nextSession } from '../../core/sql/next-session.ts';
import { fingerprint, redact } from '../../core/sql/redact.ts';
import { loadParser, type Parser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { freshSession } from '../../../test/fixtures/corpus.ts';
import { Judgements, type Setting } from './judgements.ts';

let parser: Parser;
let catalog: Catalog;
before(async () => { [parser, catalog] = await Promise.all([loadParser(18), loadBuiltinCatalog(18)]); });

/** Counts how often a text is really read. */
function scene(): { readonly judgements: Judgements; readonly read: string[]; setting(more?: Partial<Setting>): Setting } {
  const read: string[] = [];
  const core = {
    assess: (...given: Parameters<typeof assess>) => { read.push(given[0]); return assess(...given); },
    assessStatement, mayRunWhenParsed, measurePlan, nextSession, redact, fingerprint,
  };
  return { judgements: new Judgements(core, parser), read, setting: (more = {}) => ({ facts: freshSession, isPlain: true, catalog, ...more }) };
}

const byOid = (oid: number): string => `SELECT typname FROM pg_catalog.pg_type WHERE oid = ${oid};`;

test('another value of a known SAFE read is not read again, and its text is its own', () => {
  const { judgements, read, setting } = scene();
  const first = judgements.judgeQuery(byOid(23), setting());
  const second = judgements.judgeQuery(byOid(4711), setting());
  assert.deepEqual(read, [byOid(23)]);
  assert.equal(second.assessment.risk, first.assessment.risk);
  assert.deepEqual(second.assessment.statements.map(({ statement }) => statement.text), ['SELECT typname FROM pg_catalog.pg_type WHERE oid = 4711']);
  assert.deepEqual([second.redacted, second.fingerprint], [first.redacted, first.fingerprint]);
});

test('a text that names very much is read again each time, because remembering it takes more room than its length', () => {
  const { judgements, read, setting } = scene();
  const [few, many] = [10, 1_000].map((count) => `SELECT ${Array.from({ length: count }, (_, index) => `f${index}()`).join(', ')}`);
  for (const sql of [few ?? '', few ?? '', many ?? '', many ?? '']) judgements.judge(sql, setting());
  assert.deepEqual(read, [few, many, many]);
});

const anew: readonly (readonly [why: string, sql: (value: number) => string, more: (value: number) => Partial<Setting>])[] = [
  ['what is not SAFE', (value) => `DELETE FROM pg_catalog.pg_type WHERE oid = ${value}`, () => ({})],
  ['another catalog', byOid, () => ({ catalog: { ...catalog } })],
  ['another path', byOid, (value) => ({ facts: { ...freshSession, searchPath: [`s${value}`] } })],
  ['another role', byOid, (value) => ({ facts: { ...freshSession, role: `r${value}` } })],
  ['a session of which more can matter', byOid, () => ({ isPlain: false })],
];
for (const [why, sql, more] of anew) {
  test(`${why} is judged anew`, () => {
    const { judgements, read, setting } = scene();
    for (const value of [1, 2]) judgements.judgeQuery(sql(value), setting(more(value)));
    assert.deepEqual(read, [sql(1), sql(2)]);
  });
}

test('what a person would be asked about is judged by its own text', () => {
  const { judgements, read, setting } = scene();
  judgements.judgeQuery(byOid(1), setting());
  judgements.judgeQuery(byOid(2), setting());
  judgements.judge(byOid(2), setting());
  assert.deepEqual(read, [byOid(1), byOid(2)]);
});
