/** What may end its transaction while it runs, and what surely does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadParser } from '../../lib/pgsql/parser.ts';
import { freshSession } from '../../../test/fixtures/corpus.ts';
import { createCatalog } from './catalog.ts';
import type { CatalogFacts, FunctionFact } from './catalog-facts.ts';
import { readStatement } from './read-statement.ts';
import type { SessionFacts } from './statement.ts';
import { mayEndTransaction } from './transaction-control.ts';

const parser = await loadParser(18);
const procedure = (name: string, language: string, source?: string, kind: FunctionFact['kind'] = 'procedure'): FunctionFact => ({
  schema: 'public', name, args: [], defaults: 0, returns: 'pg_catalog.void', kind, volatility: 'volatile', language, ...(source === undefined ? {} : { source }),
});
const facts: CatalogFacts = {
  mode: 'live', major: 18, version: 'v', schemas: ['public'], relations: [], foreignKeys: [], operators: [], casts: [], types: [], eventTriggers: [], dependencies: [], operatorClassFunctions: [],
  functions: [
    procedure('quiet', 'plpgsql', 'BEGIN INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING; END'), procedure('ending', 'plpgsql', 'BEGIN Commit; END'), procedure('calling', 'plpgsql', 'BEGIN CALL ending(); END'),
    procedure('plain', 'sql', 'CALL ending()'), procedure('foreign', 'plpython3u', 'pass'), procedure('unread', 'plpgsql'), procedure('twice', 'plpgsql', 'BEGIN END'), { ...procedure('twice', 'plpgsql', 'BEGIN ROLLBACK; END'), args: ['pg_catalog.int4'] },
    procedure('ends', 'plpgsql', 'BEGIN COMMIT; END', 'function'),
  ],
};

const rows: readonly (readonly [sql: string, expected: boolean, session?: Partial<SessionFacts>])[] = [
  ["DO $$ BEGIN DELETE FROM t; END $$", false], ["DO $$ BEGIN EXECUTE 'del' || 'ete from t'; END $$", false], ['DO $$ BEGIN INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1; END $$', false],
  ['DO $$ BEGIN COMMIT; END $$', true], ['DO $$ BEGIN\n rollback and chain; END $$', true], ['DO $$ BEGIN CALL p(); END $$', true], ['DO $$ BEGIN -- commit\n END $$', true], ["DO $$ BEGIN DO 'x'; END $$", true],
  ["DO $$ BEGIN DO/**/LANGUAGE plpgsql 'x'; END $$", true], ["DO LANGUAGE plpython3u 'pass'", true], ["DO LANGUAGE plpgsql 'BEGIN END'", false],
  ['CALL quiet()', false], ['CALL ending()', true], ['CALL calling()', true], ['CALL plain()', false], ['CALL foreign_one()', true], ['CALL foreign()'.replace('foreign', '"foreign"'), true], ['CALL unread()', true], ['CALL twice()', true],
  ['CALL public.quiet()', false], ['CALL other.quiet()', true], ['CALL quiet()', true, { searchPath: null }], ['CALL quiet()', true, { catalogChanged: true }], ['SELECT ends()', false], ['CALL ends()', true],
];
for (const [sql, expected, session = {}] of rows) {
  test(`${expected ? 'may end' : 'does not end'} its transaction: ${sql}${Object.keys(session).map((name) => `, ${name}`).join('')}`, () => {
    const parsed = parser.parse(sql);
    assert.ok(parsed.kind === 'parsed' && parsed.statements[0] !== undefined);
    assert.equal(mayEndTransaction(readStatement(parsed.statements[0]), { ...freshSession, ...session }, createCatalog(facts)), expected);
  });
}
