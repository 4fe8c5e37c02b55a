/** Loading a catalog: refused versions, failed questions, and what the shipped snapshots know. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { loadBuiltinCatalog, majors } from './builtin-catalog.ts';
import { inSnapshot, loadCatalog } from './catalog.ts';

for (const version of ['140012', '190001', 'nonsense']) {
  test(`a server that says it is ${version} is refused before anything is read`, async () => {
    const asked: string[] = [];
    const query = (sql: string): Promise<readonly (readonly string[])[]> => { asked.push(sql); return Promise.resolve([[version]]); };
    await assert.rejects(loadCatalog(query), (error) => error instanceof Failure && error.code === 'upstream_unsupported');
    assert.equal(asked.length, 1);
  });
}

test('a question that fails ends the snapshot and its own error is what is told', async () => {
  const asked: string[] = [];
  const query = (sql: string): Promise<readonly (readonly string[])[]> => { asked.push(sql); return Promise.resolve([]); };
  await assert.rejects(inSnapshot(query, () => Promise.reject(new Error('lost'))), /lost/);
  assert.equal(asked.at(-1), 'ROLLBACK');
});

for (const major of majors) {
  test(`the built-in catalog of PostgreSQL ${major} finds PostgreSQL's own by name`, async () => {
    const catalog = await loadBuiltinCatalog(major);
    assert.equal(catalog.major, major);
    assert.equal(catalog.mode, 'offline');
    const path = ['pg_catalog', 'public'];
    assert.equal(catalog.relation(path, 'pg_class')?.kind, 'table');
    assert.equal(catalog.relation(['information_schema'], 'columns')?.kind, 'view');
    assert.equal(catalog.type(path, 'int4')?.kind, 'base');
    assert.ok(catalog.functions(path, 'lower').length > 1);
    assert.ok(catalog.operators(path, '=', 2).length > 50);
    assert.ok(catalog.facts.operators.every((fact) => catalog.functionSigned(fact.function) !== undefined), 'every operator has its function');
  });
}

test('a major version without a snapshot is refused', async () => {
  await assert.rejects(loadBuiltinCatalog(14), (error) => error instanceof Failure && error.code === 'upstream_unsupported');
});
