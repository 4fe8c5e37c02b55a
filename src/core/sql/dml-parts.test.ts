/** The pieces of a statement are found where the grammar has them, or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadParser, parserMajors, type ParserMajor } from '../../lib/pgsql/parser.ts';
import { dmlParts, type DmlParts } from './dml-parts.ts';

const parsers = new Map<ParserMajor, Awaited<ReturnType<typeof loadParser>>>();
for (const major of parserMajors) parsers.set(major, await loadParser(major));

function partsOf(sql: string, major: ParserMajor = 18): DmlParts | undefined {
  const parser = parsers.get(major);
  const parsed = parser?.parse(sql);
  assert.ok(parser !== undefined && parsed?.kind === 'parsed', sql);
  const [statement] = parsed.statements;
  assert.ok(statement !== undefined);
  return dmlParts(statement.node, statement.tree, statement.text, parser);
}

type Row = readonly [claim: string, sql: string, parts: readonly [withText: string, target: string, from: string | undefined, where: string | undefined]];
const rows: readonly Row[] = [
  ['DELETE of all', 'DELETE FROM t', ['', 't', undefined, undefined]],
  ['an alias and a qualified name', 'DELETE FROM public.t AS x WHERE x.id = $1 RETURNING *', ['', 'public.t AS x', undefined, 'x.id = $1']],
  ['ONLY and USING', 'DELETE FROM ONLY t USING a, b WHERE t.id = a.id RETURNING t.id', ['', 'ONLY t', 'a, b', 't.id = a.id']],
  ['WITH before it', 'WITH c AS (SELECT 1 WHERE true) DELETE FROM t WHERE id IN (SELECT 1 FROM c WHERE true)', ['WITH c AS (SELECT 1 WHERE true)', 't', undefined, 'id IN (SELECT 1 FROM c WHERE true)']],
  ['UPDATE', 'UPDATE t SET a = 1 WHERE id = 2', ['', 't', undefined, 'id = 2']],
  ['a FROM that belongs to an operator is none', 'UPDATE t SET a = b IS DISTINCT FROM c FROM x WHERE t.id = x.id', ['', 't', 'x', 't.id = x.id']],
  ['a table named set', 'UPDATE set SET a = 1 WHERE a = 2', ['', 'set', undefined, 'a = 2']],
  ['a CTE named update', 'WITH update AS (SELECT 1) UPDATE t SET a = 1 FROM update WHERE true', ['WITH update AS (SELECT 1)', 't', 'update', 'true']],
  ['words inside literals, comments and names', `UPDATE "from" SET a = 'x WHERE y' /* WHERE */ -- WHERE\n WHERE b = 'RETURNING' RETURNING 1`, ['', '"from"', undefined, "b = 'RETURNING'"]],
  ['CASE has words of its own', 'UPDATE t SET a = CASE WHEN b THEN 1 END WHERE CASE WHEN c THEN d ELSE e END', ['', 't', undefined, 'CASE WHEN c THEN d ELSE e END']],
  ['a join with ON of its own', 'MERGE INTO t USING a JOIN b ON a.i = b.i ON t.id = a.i WHEN MATCHED THEN DELETE', ['', 't', 'a JOIN b ON a.i = b.i', 't.id = a.i']],
  ['a RETURNING of two words', 'DELETE FROM t WHERE a RETURNING a AS returning', ['', 't', undefined, 'a']],
];
for (const [claim, sql, [withText, target, from, where]] of rows) {
  test(claim, () => {
    const { whens: _, ...parts } = partsOf(sql) ?? { whens: [] };
    assert.deepEqual(parts, { with: withText, target, from, where });
  });
}

test('the clauses of a MERGE are found in each grammar that has it', () => {
  for (const major of parserMajors) {
    const parts = partsOf(`MERGE INTO stock s USING (SELECT 1 AS id) n ON s.id = n.id WHEN MATCHED AND s.n > CASE WHEN true THEN 1 END THEN UPDATE SET n = 0
      WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND n.id > 1 THEN INSERT VALUES (n.id, 1) WHEN NOT MATCHED THEN DO NOTHING`, major);
    assert.deepEqual(parts?.whens.map(({ match, command, condition }) => [match, command, condition]), [
      ['matched', 'update', 's.n > CASE WHEN true THEN 1 END'], ['matched', 'delete', undefined],
      ['not-matched-by-target', 'insert', 'n.id > 1'], ['not-matched-by-target', 'nothing', undefined],
    ], `PostgreSQL ${major}`);
  }
  const bySource = partsOf('MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND t.old THEN DELETE');
  assert.deepEqual(bySource?.whens, [{ match: 'not-matched-by-source', command: 'delete', condition: 't.old' }]);
});

test('what is no UPDATE, DELETE or MERGE has no pieces', () => {
  assert.equal(partsOf('SELECT 1 FROM t WHERE true'), undefined);
});
