/**
 * Protected columns: a statement that could show, use or change one is caught, whatever way around it is tried; one that
 * names other columns passes. Judged from the text to the verdict on a small catalog made by hand.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { decide } from '../src/core/policy/decide.ts';
import { parsePolicy } from '../src/core/policy/policy.ts';
import { assess } from '../src/core/sql/assess.ts';
import { createCatalog, type Catalog } from '../src/core/sql/catalog.ts';
import type { RelationFact } from '../src/core/sql/catalog-facts.ts';
import { loadParser, type Parser } from '../src/lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../src/remote/postgres/builtin-catalog.ts';
import { freshSession } from './fixtures/corpus.ts';

const policy = parsePolicy(`
name: shop
description: d
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: hold
recovery: { required_from: never }
protected: { columns: [users.password, '*.card_number', events.secret], tables: [audit], on_write: hold, on_read: hold }
`, 'shop.yaml').base;

const int4 = 'pg_catalog.int4';
const text = 'pg_catalog.text';
function relation(name: string, columns: readonly string[], more: Partial<RelationFact> = {}): RelationFact {
  return { schema: 'public', name, kind: 'table', columns: columns.map((column) => ({ name: column, type: column === 'id' ? int4 : text })), ...more };
}

let parser: Parser;
let catalog: Catalog;
before(async () => {
  parser = await loadParser(18);
  const { facts } = await loadBuiltinCatalog(18);
  catalog = createCatalog({
    ...facts, mode: 'live', schemas: [...facts.schemas, 'public'],
    relations: [...facts.relations,
      relation('users', ['id', 'name', 'password']), relation('payments', ['id', 'user_id', 'amount', 'card_number']), relation('orders', ['id', 'user_id', 'name']),
      relation('events', ['id', 'secret'], { kind: 'partitioned-table', children: ['public.events_2026'] }), relation('events_2026', ['id', 'secret'], { children: ['public.events_part'] }),
      relation('events_part', ['id', 'secret']), relation('all_audits', ['id'], { kind: 'partitioned-table', children: ['public.audit'] }), relation('audit', ['id'], { children: ['public.audit_1'] }), relation('audit_1', ['id']),
      relation('v_all', ['id', 'name', 'password'], { kind: 'view', definition: 'SELECT users.id, users.name, users.password FROM public.users' }),
      relation('v_some', ['id', 'name'], { kind: 'view', definition: 'SELECT users.id, users.name FROM public.users' }),
      relation('v_filtered', ['id'], { kind: 'view', definition: "SELECT users.id FROM public.users WHERE (users.password = 'x'::text)" }),
      relation('m_renamed', ['id', 'hint'], { kind: 'materialized-view', definition: 'SELECT users.id, users.password AS hint FROM public.users' }),
      relation('cards', ['id', 'card_number'], { columns: [{ name: 'id', type: int4 }, { name: 'card_number', type: text }, { name: 'last4', type: text, generated: 'stored', default: '"right"(card_number, 4)' }] }),
      relation('v_renamed', ['id', 'hint'], { kind: 'view', definition: 'SELECT users.id, users.password AS hint FROM public.users' }),
    ],
    foreignKeys: [...facts.foreignKeys, { name: 'fk', from: 'public.payments', to: 'public.orders', fromColumns: ['user_id'], toColumns: ['id'], onDelete: 'no-action', onUpdate: 'no-action' }],
  });
});

function found(sql: string): { readonly decision: string; readonly rules: readonly string[] } {
  const { risk } = assess(sql, freshSession, catalog, parser);
  const verdict = decide(policy, { risk, agent: 'ada', database: 'shop', recovery: 'none' });
  return { decision: verdict.decision, rules: verdict.fired.map(({ rule }) => rule) };
}

const reads: readonly (readonly [sql: string, why: string])[] = [
  ['SELECT hint FROM m_renamed', 'a materialized view that was made of it'],
  ['SELECT last4 FROM cards', 'a generated column that is computed of it'],
  ['UPDATE cards SET id = 2 WHERE id = 1 RETURNING last4', 'the same, returned'],
  ['SELECT password FROM users', 'by its name'],
  ['SELECT "password" FROM public.users', 'quoted and qualified'],
  ['SELECT * FROM users', 'a star'],
  ['TABLE users', 'TABLE is a star'],
  ['SELECT u.* FROM users u', 'a star of an alias'],
  ['SELECT users.* FROM orders, users', 'a star of one of several'],
  ['SELECT * FROM orders JOIN users ON users.id = orders.user_id', 'a star through a join'],
  ['SELECT * FROM orders o JOIN (payments p JOIN users u ON u.id = p.user_id) ON o.id = p.id', 'a star through nested joins'],
  ['SELECT * FROM users TABLESAMPLE system (10)', 'a star of a sample'],
  ['SELECT u.password AS p FROM users u', 'under another name'],
  ['SELECT x FROM (SELECT password AS x FROM users) s', 'in a subselect, renamed'],
  ['SELECT s.x FROM (SELECT * FROM users) s(a, b, x)', 'a subselect whose columns are renamed'],
  ['SELECT c FROM users AS u(a, b, c)', 'a table whose columns are renamed'],
  ['SELECT j.c FROM (users JOIN orders ON true) AS j(a, b, c)', 'a join whose columns are renamed'],
  ['SELECT j FROM (users JOIN orders ON true) AS j', 'the row of a join'],
  ['WITH c AS (SELECT password FROM users) SELECT * FROM c', 'in a CTE'],
  ['WITH c(x) AS (TABLE users) SELECT x FROM c', 'in a CTE with names of its own'],
  ['SELECT id FROM users WHERE password LIKE \'a%\'', 'a WHERE that asks for it'],
  ['SELECT id FROM users ORDER BY password', 'an order that gives it away'],
  ['SELECT count(*) FROM users GROUP BY password', 'a group'],
  ['SELECT id FROM users u WHERE EXISTS (SELECT FROM orders o WHERE o.name = u.password)', 'a correlated subquery'],
  ['SELECT max(password) OVER () FROM users', 'a window'],
  ['SELECT CASE WHEN users.password > \'m\' THEN 1 END FROM users', 'a question about it'],
  ['SELECT row_to_json(users) FROM users', 'the whole row to a function'],
  ['SELECT to_jsonb(u) FROM users u', 'the row of an alias'],
  ['SELECT u::text FROM users u', 'the row cast to text'],
  ['SELECT u FROM users u', 'the row itself'],
  ['SELECT (u).password FROM users u', 'a field of the row'],
  ['SELECT (u).* FROM users u', 'every field of the row'],
  ['SELECT (SELECT x FROM users x LIMIT 1)::text', 'the row of a subquery'],
  ['SELECT ROW(u.*) FROM users u', 'a row made of a star'],
  ['SELECT array_agg(users) FROM users', 'rows in an array'],
  ['SELECT json_agg(u) FROM (SELECT u FROM users u) s', 'rows of rows'],
  ['SELECT u.row_to_json FROM users u', 'attribute notation calls a function of the row'],
  ['SELECT users.to_json FROM users', 'attribute notation without an alias'],
  ['SELECT users.row_to_json AS row_to_json FROM users', 'attribute notation under the name of the function'],
  ['SELECT u IS NOT NULL FROM users u', 'a question about the row'],
  ['SELECT u = v FROM users u, users v', 'two rows compared'],
  ['SELECT id FROM users NATURAL JOIN (SELECT \'x\'::text AS password) g', 'a natural join guesses it'],
  ['SELECT id FROM users JOIN (SELECT \'x\'::text AS password) g USING (password)', 'a join by its name guesses it'],
  ['SELECT 1 FROM users UNION SELECT length(password) FROM users', 'behind a UNION'],
  ['SELECT hint FROM v_renamed', 'through a view that renames it'],
  ['SELECT id FROM v_all', 'through a view that shows it'],
  ['SELECT id FROM v_filtered', 'through a view that asks for it'],
  ['COPY users TO STDOUT', 'COPY of the table'],
  ['COPY users (id, password) TO STDOUT', 'COPY of the column'],
  ['COPY (SELECT password FROM users) TO STDOUT', 'COPY of a query'],
  ['EXPLAIN ANALYZE SELECT id FROM users WHERE password = \'x\'', 'EXPLAIN ANALYZE counts what it matches'],
  ['EXPLAIN SELECT id FROM users WHERE password = \'x\'', 'EXPLAIN estimates it from statistics'],
  ['SELECT query_to_xml(\'SELECT password FROM users\', true, true, \'\')', 'SQL in a string'],
  ['SELECT table_to_xml(\'users\', true, true, \'\')', 'a table by its name in a string'],
  ['SELECT schema_to_xml(\'public\', true, true, \'\')', 'a whole schema'],
  ['SELECT most_common_vals FROM pg_stats WHERE tablename = \'users\'', 'samples of its values in the statistics'],
  ['SELECT stavalues1 FROM pg_catalog.pg_statistic', 'samples of its values in the catalog'],
  ['SELECT chunk_data FROM pg_toast.pg_toast_16384', 'the raw pieces of its long values'],
  ['CREATE TABLE copy AS SELECT password FROM users', 'a copy of it'],
  ['CREATE VIEW leak AS SELECT password AS p FROM users', 'a view made to show it'],
  ['PREPARE p AS SELECT password FROM users', 'prepared for later'],
  ['DECLARE c CURSOR FOR SELECT password FROM users', 'a cursor on it'],
  ['INSERT INTO orders (name) SELECT password FROM users', 'carried into another table'],
  ['UPDATE users SET name = password WHERE id = 1', 'carried into another column'],
  ['UPDATE users SET name = \'x\' WHERE password LIKE \'a%\'', 'an UPDATE that counts what it matches'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING *', 'RETURNING a star'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING password', 'RETURNING it'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING old.*', 'RETURNING the old row'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING to_json(new)', 'RETURNING the new row as JSON'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING WITH (OLD AS o) o.password', 'RETURNING the old row by another name'],
  ['UPDATE orders SET name = u.password FROM users u WHERE u.id = orders.user_id', 'from another table of an UPDATE'],
  ['DELETE FROM orders USING users WHERE users.password = orders.name', 'from another table of a DELETE'],
  ['DELETE FROM users WHERE id = 1 RETURNING users', 'RETURNING the deleted row'],
  ['INSERT INTO users (id, name) VALUES (1, \'a\') ON CONFLICT (id) DO UPDATE SET name = users.password', 'the row that conflicts'],
  ['MERGE INTO orders USING users u ON u.id = orders.user_id WHEN MATCHED THEN UPDATE SET name = u.password', 'the source of a MERGE'],
  ['UPDATE v_all SET name = \'x\' WHERE id = 1', 'a write through a view that shows it'],
  ['SELECT secret FROM events_part', 'a partition of a partition, by its own name'],
  ['SELECT card_number FROM payments', 'a column that is protected in every table'],
];

const passes: readonly (readonly [sql: string, why: string])[] = [
  ['SELECT id, name FROM users', 'other columns'],
  ['SELECT u.id, u.name FROM users u WHERE u.name = \'x\' ORDER BY u.id', 'other columns of an alias'],
  ['SELECT count(*) FROM users', 'a count of rows'],
  ['SELECT * FROM orders', 'a star of another table'],
  ['SELECT o.* FROM orders o JOIN users u ON u.id = o.user_id', 'a star of the other table in a join'],
  ['SELECT * FROM (SELECT id, name FROM users) s', 'a star of a subselect that names its columns'],
  ['WITH c AS (SELECT id FROM users) SELECT * FROM c', 'a star of a CTE that names its columns'],
  ['SELECT s FROM (SELECT id, name FROM users) s', 'the row of a subselect that names its columns'],
  ['SELECT users.ctid, users.id FROM users', 'a system column'],
  ['SELECT id FROM v_some', 'a view that does not show it'],
  ['SELECT * FROM v_some', 'every column of a view that does not show it'],
  ['COPY users (id, name) TO STDOUT', 'COPY of other columns'],
  ['UPDATE users SET name = \'x\' WHERE id = 1', 'an UPDATE of another column'],
  ['UPDATE users SET name = \'x\' WHERE id = 1 RETURNING id', 'that returns another'],
  ['INSERT INTO users (id, name) VALUES (1, \'a\')', 'an INSERT of other columns'],
  ['INSERT INTO users (id, name) VALUES (1, \'a\') ON CONFLICT (id) DO UPDATE SET name = excluded.name', 'an upsert of other columns'],
  ['INSERT INTO orders SELECT id, id, name FROM users', 'an INSERT from other columns'],
  ['DELETE FROM orders WHERE id = 1', 'a DELETE that a key of another table is checked for'],
  ['SELECT id FROM users FOR UPDATE', 'a lock'],
  ['SELECT password FROM orders, (SELECT \'x\' AS password) s', 'a column of that name elsewhere'],
];

const writes: readonly (readonly [sql: string, why: string])[] = [
  ['UPDATE users SET password = \'x\' WHERE id = 1', 'an UPDATE of it'],
  ['UPDATE users SET (name, password) = (\'a\', \'b\') WHERE id = 1', 'among others'],
  ['INSERT INTO users VALUES (1, \'a\', \'b\')', 'an INSERT that names no columns'],
  ['INSERT INTO users (password) VALUES (\'b\')', 'an INSERT of it'],
  ['COPY users FROM STDIN', 'COPY into the table'],
  ['DELETE FROM users WHERE id = 1', 'a DELETE, which loses it'],
  ['TRUNCATE users', 'TRUNCATE, which loses it'],
  ['DROP TABLE users', 'DROP, which loses it'],
  ['ALTER TABLE users DROP COLUMN password', 'ALTER, which loses it'],
  ['ALTER TABLE users RENAME COLUMN password TO pw', 'ALTER, which takes its name away'],
];

describe('a read of a protected column is denied (H89)', () => {
  for (const [sql, why] of reads) test(`${why}: ${sql}`, () => {
    const { decision, rules } = found(sql);
    assert.equal(decision, 'deny');
    assert.ok(rules.includes('protected.column'));
  });
});

describe('a protected table is protected under every name that its rows have', () => {
  for (const sql of ['SELECT id FROM audit', 'SELECT id FROM audit_1', 'SELECT id FROM all_audits', 'UPDATE audit_1 SET id = 2 WHERE id = 1', 'SELECT count(*) FROM all_audits', "SELECT database_to_xml(true, true, '')", 'SELECT most_common_vals FROM pg_stats',
    'DROP TRIGGER t ON audit', 'DROP RULE r ON public.audit', 'DROP POLICY p ON audit', 'ALTER TABLE all_audits DETACH PARTITION audit', 'ALTER TABLE events ATTACH PARTITION audit FOR VALUES IN (1)',
    'CREATE TABLE more PARTITION OF audit FOR VALUES IN (1)', 'ALTER TABLE orders INHERIT audit', 'CREATE PUBLICATION p FOR ALL TABLES', 'ALTER PUBLICATION p ADD TABLES IN SCHEMA public', 'ALTER EXTENSION e ADD TABLE audit', 'REASSIGN OWNED BY a TO b']) {
    test(sql, () => { assert.ok(found(sql).rules.includes('protected.table')); });
  }
});

describe('a write of a protected column is held', () => {
  for (const [sql, why] of writes) test(`${why}: ${sql}`, () => {
    const { decision, rules } = found(sql);
    assert.deepEqual([decision, rules.includes('protected.column')], ['hold', true]);
  });
});

describe('what leaves it alone passes', () => {
  for (const [sql, why] of passes) test(`${why}: ${sql}`, () => { assert.deepEqual(found(sql).rules.filter((rule) => rule.startsWith('protected')), []); });
});
