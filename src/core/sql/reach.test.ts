/** Claims about reach, each on a small catalog made by hand, judged through assess as the gateway would. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Level, Risk } from '../risk.ts';
import { loadParser } from '../../lib/pgsql/parser.ts';
import { assess } from './assess.ts';
import { createCatalog } from './catalog.ts';
import type { CatalogFacts, FunctionFact, RelationFact } from './catalog-facts.ts';
import { beginSession } from './next-session.ts';
import type { SessionFacts } from './statement.ts';

const parser = await loadParser(18);

const session = beginSession(['public'], 'app');

const int4 = 'pg_catalog.int4';

function fn(name: string, more: Partial<FunctionFact> = {}): FunctionFact {
  return { schema: 'public', name, args: [], defaults: 0, returns: int4, kind: 'function', volatility: 'volatile', language: 'sql', ...more };
}

function builtin(name: string, args: readonly string[], more: Partial<FunctionFact> = {}): FunctionFact {
  return fn(name, { schema: 'pg_catalog', args, volatility: 'immutable', language: 'internal', builtin: true, ...more });
}

function table(name: string, more: Partial<RelationFact> = {}): RelationFact {
  return { schema: 'public', name, kind: 'table', columns: [{ name: 'id', type: int4 }], ...more };
}

const equality = { schema: 'pg_catalog', name: '=', left: int4, right: int4, function: `pg_catalog.int4eq(${int4}, ${int4})`, builtin: true };

function catalogOf(facts: Partial<CatalogFacts>): ReturnType<typeof createCatalog> {
  return createCatalog({
    mode: 'live', major: 18, version: 'hand-made', schemas: ['public'], foreignKeys: [], casts: [], eventTriggers: [], dependencies: [], operatorClassFunctions: [],
    ...facts,
    relations: facts.relations ?? [], operators: [equality, ...facts.operators ?? []],
    functions: [builtin('int4eq', [int4, int4]), builtin('lower', ['pg_catalog.text']), builtin('pg_sleep', ['pg_catalog.float8'], { volatility: 'volatile' }),
      builtin('pg_brand_new', [], { volatility: 'volatile' }), ...facts.functions ?? []],
    types: [{ schema: 'pg_catalog', name: 'int4', kind: 'base', builtin: true }, { schema: 'pg_catalog', name: 'text', kind: 'base', builtin: true }, ...facts.types ?? []],
  });
}

function judge(sql: string, facts: Partial<CatalogFacts>, now: Partial<SessionFacts> = {}): Risk {
  return assess(sql, { ...session, ...now }, catalogOf(facts), parser).risk;
}

const evil = fn('evil', { language: 'c', volatility: 'immutable' });
const rows: readonly (readonly [claim: string, sql: string, facts: Partial<CatalogFacts>, level: Level])[] = [
  ['a volatile built-in without a row is not trusted', 'SELECT pg_brand_new()', {}, 'HIGH'],
  ['a reviewed volatile built-in is what its row says', 'SELECT pg_sleep(1)', {}, 'LOW'],
  ['declared immutability of a C function proves nothing', 'SELECT evil()', { functions: [evil] }, 'HIGH'],
  ['a function of another schema is not meant', 'SELECT lower($1)', { functions: [fn('lower', { schema: 'other', args: ['pg_catalog.text'], language: 'c' })] }, 'SAFE'],
  ['an overload with other arguments is a candidate', 'SELECT lower($1)', { functions: [fn('lower', { args: [int4], language: 'c' })] }, 'HIGH'],
  ['an overload with the same arguments is hidden by pg_catalog', 'SELECT lower($1)', { functions: [fn('lower', { args: ['pg_catalog.text'], language: 'c' })] }, 'SAFE'],
  ['an overload that takes more arguments is not meant', 'SELECT lower($1)', { functions: [fn('lower', { args: [int4, int4], language: 'c' })] }, 'SAFE'],
  ['arguments with defaults may be left out', 'SELECT lower($1)', { functions: [fn('lower', { args: [int4, int4], defaults: 1, language: 'c' })] }, 'HIGH'],
  ['a variadic overload may take any number', 'SELECT lower(1, 2, 3)', { functions: [fn('lower', { args: ['pg_catalog._int4'], variadic: int4, language: 'c' })] }, 'HIGH'],
  ['the search_path of a function names schemas as the server cuts them', 'SELECT w()', { functions: [fn('evil', { schema: 's'.repeat(63), language: 'c' }), fn('evil', { source: 'SELECT 1' }), fn('w', { source: 'SELECT evil()', config: [`search_path=${'s'.repeat(70)}, public`] })] }, 'HIGH'],
  ['a function that calls itself and nothing else is proved', 'SELECT f()', { functions: [fn('f', { source: 'SELECT public.f()' })] }, 'SAFE'],
  ['a cycle of functions does not hide what one of them does', 'SELECT g()', { functions: [evil, fn('f', { source: 'SELECT public.g(), public.evil()' }), fn('g', { source: 'SELECT public.f()' })] }, 'HIGH'],
  ['a reviewed extension\'s stable function is trusted', 'SELECT f()', { functions: [fn('f', { language: 'c', volatility: 'stable', extension: 'citext' })] }, 'SAFE'],
  ['a reviewed extension\'s volatile function is not', 'SELECT f()', { functions: [fn('f', { language: 'c', extension: 'citext' })] }, 'HIGH'],
  ['another extension\'s function is not', 'SELECT f()', { functions: [fn('f', { language: 'c', volatility: 'immutable', extension: 'homemade' })] }, 'HIGH'],
  ['a user\'s function with the name of a harmless one is not it', 'SELECT gen_salt()', { functions: [fn('gen_salt', { language: 'c' })] }, 'HIGH'],
  ['dblink leaves the transaction', "SELECT dblink_exec('x')", { functions: [fn('dblink_exec', { args: ['pg_catalog.text'], language: 'c', extension: 'dblink' })] }, 'CRITICAL'],
  ['crosstab runs its SQL', "SELECT * FROM crosstab('DELETE FROM t') AS c(a int)", { relations: [table('t')], functions: [fn('crosstab', { args: ['pg_catalog.text'], returns: int4, language: 'c', volatility: 'stable', extension: 'tablefunc' })] }, 'CRITICAL'],
  ['crosstab runs the SQL of its second argument as well', "SELECT * FROM crosstab('SELECT 1', 'SELECT pg_read_file(''x'')') AS c(a int)", { functions: [builtin('pg_read_file', ['pg_catalog.text'], { volatility: 'volatile' }), fn('crosstab', { args: ['pg_catalog.text', 'pg_catalog.text'], returns: int4, language: 'c', volatility: 'stable', extension: 'tablefunc' })] }, 'CRITICAL'],
  ['an extension whose immutable functions run SQL is not trusted', "SELECT st_mapalgebra('wr()')", { functions: [fn('st_mapalgebra', { args: ['pg_catalog.text'], language: 'c', volatility: 'immutable', extension: 'postgis_raster' })] }, 'HIGH'],
  ['an immutable function that makes a table is known by its row', "SELECT st_fromflatgeobuftotable('a', 'b', $1)", { functions: [fn('st_fromflatgeobuftotable', { args: ['pg_catalog.text', 'pg_catalog.text', 'pg_catalog.text'], language: 'c', volatility: 'immutable', extension: 'postgis' })] }, 'HIGH'],
  ['a foreign table reaches beyond the database', 'SELECT * FROM f', { relations: [table('f', { kind: 'foreign-table', foreign: { server: 's', wrapper: 'postgres_fdw', program: false } })] }, 'HIGH'],
  ['a foreign table on a program runs it', 'SELECT * FROM f', { relations: [table('f', { kind: 'foreign-table', foreign: { server: 's', wrapper: 'file_fdw', program: true } })] }, 'CRITICAL'],
  ['a foreign partition counts for its parent', 'SELECT * FROM p', { relations: [table('p', { kind: 'partitioned-table', children: ['public.f'] }), table('f', { kind: 'foreign-table', foreign: { server: 's', wrapper: 'w', program: false } })] }, 'HIGH'],
  ['a view whose definition cannot be read is not SAFE', 'SELECT * FROM v', { relations: [table('v', { kind: 'view', definition: 'SELECT (' })] }, 'HIGH'],
  ['views that refer to each other end', 'SELECT * FROM v', { relations: [table('v', { kind: 'view', definition: 'SELECT id FROM public.w' }), table('w', { kind: 'view', definition: 'SELECT id FROM public.v' })] }, 'SAFE'],
  ['a view does not follow the caller\'s search_path', 'SELECT * FROM v', { relations: [table('v', { kind: 'view', definition: 'SELECT pg_sleep(1)' })], functions: [fn('pg_sleep', { args: [int4], language: 'c' })] }, 'LOW'],
  ['a policy counts only where row security is on', 'SELECT * FROM t', { functions: [evil], relations: [table('t', { policies: [{ name: 'p', command: 'all', using: 'public.evil() = 1' }] })] }, 'SAFE'],
  ['a policy for reads counts', 'SELECT * FROM t', { functions: [evil], relations: [table('t', { rowSecurity: true, policies: [{ name: 'p', command: 'select', using: 'public.evil() = 1' }] })] }, 'HIGH'],
  ['a policy for updates counts too, because FOR UPDATE applies it', 'SELECT * FROM t FOR UPDATE', { functions: [evil], relations: [table('t', { rowSecurity: true, policies: [{ name: 'p', command: 'update', using: 'public.evil() = 1' }] })] }, 'HIGH'],
  ['a policy for inserts does not concern reads', 'SELECT * FROM t', { functions: [evil], relations: [table('t', { rowSecurity: true, policies: [{ name: 'p', command: 'insert', check: 'public.evil() = 1' }] })] }, 'SAFE'],
  ['a virtual column runs its expression when read', 'SELECT * FROM t', { functions: [evil], relations: [table('t', { columns: [{ name: 'c', type: int4, generated: 'virtual', default: 'public.evil()' }] })] }, 'HIGH'],
  ['an implicit cast that acts makes a comparison suspect', 'SELECT 1 = 2', { functions: [fn('c', { args: ['public.m'], language: 'c' })], types: [{ schema: 'public', name: 'm', kind: 'enum' }], casts: [{ source: 'public.m', target: int4, function: 'public.c(public.m)', context: 'implicit' }] }, 'HIGH'],
  ['a column wins over a function of the same name on that row type', 'SELECT t.id FROM t', { relations: [table('t')], types: [{ schema: 'public', name: 't', kind: 'composite' }], functions: [fn('id', { args: ['public.t'], language: 'c' })] }, 'SAFE'],
  ['an operator class of the user\'s runs when rows are compared', 'SELECT DISTINCT id FROM t', { relations: [table('t')], functions: [evil], operatorClassFunctions: ['public.evil()'] }, 'HIGH'],
];

for (const [claim, sql, facts, level] of rows) {
  test(claim, () => {
    const risk = judge(sql, facts);
    assert.equal(risk.level, level, JSON.stringify(risk.reasons));
  });
}

const foreignType: Partial<CatalogFacts> = {
  types: [{ schema: 'public', name: 'ip', kind: 'base', functions: ['public.ip_in(pg_catalog.cstring)'] }],
  functions: [fn('ip_in', { args: ['pg_catalog.cstring'], returns: 'public.ip', language: 'c' }), fn('ip_eq', { args: ['public.ip', 'public.ip'], language: 'c' }),
    builtin('texteq', ['pg_catalog.text', 'pg_catalog.text'])],
  operators: [{ schema: 'public', name: '=', left: 'public.ip', right: 'public.ip', function: 'public.ip_eq(public.ip, public.ip)' },
    { schema: 'pg_catalog', name: '=', left: 'pg_catalog.text', right: 'pg_catalog.text', function: 'pg_catalog.texteq(pg_catalog.text, pg_catalog.text)', builtin: true }],
  operatorClassFunctions: ['public.ip_eq(public.ip, public.ip)'],
  relations: [table('t'), table('hosts', { columns: [{ name: 'address', type: 'public.ip' }] })],
};

test('operators of a type nobody reviewed count where a value of that type is in play, and only there', () => {
  assert.equal(judge('SELECT id FROM t WHERE id = 1', foreignType).level, 'SAFE');
  assert.equal(judge('SELECT * FROM hosts', foreignType).level, 'HIGH');
  assert.equal(judge('SELECT $1::ip = $2', foreignType).level, 'HIGH');
  const withCast: Partial<CatalogFacts> = { ...foreignType, casts: [{ source: int4, target: 'public.ip', context: 'implicit' }] };
  assert.equal(judge('SELECT id FROM t WHERE id = 1', withCast).level, 'HIGH');
});

test('a rule whose text has another shape than expected is not taken for nothing', () => {
  const risk = judge('UPDATE t SET id = 1 WHERE id = 2', { relations: [table('t', { rules: [{ name: 'r', event: 'update', instead: true, definition: 'no such text' }] })] });
  assert.ok(risk.reasons.some((reason) => reason.rule === 'catalog.unreadable'));
});

test('what is built of thousands of others of its kind is not followed to the end, and spoils nothing else', () => {
  const all = Array.from({ length: 5_000 }, (_, index) => index);
  const facts: Partial<CatalogFacts> = {
    types: all.map((index) => ({ schema: 'public', name: `d${index}`, kind: 'domain', base: index === 0 ? int4 : `public.d${index - 1}`, checks: ['(VALUE > 0)'] })),
    operators: [{ schema: 'pg_catalog', name: '>', left: int4, right: int4, function: `pg_catalog.int4eq(${int4}, ${int4})`, builtin: true }],
    relations: [table('t'), ...all.map((index) => table(`v${index}`, { kind: 'view', definition: index === 0 ? 'SELECT id FROM public.t' : `SELECT id FROM public.v${index - 1}` }))],
    functions: all.map((index) => fn(`f${index}`, { args: [int4], source: index === 0 ? 'SELECT 1' : `SELECT public.f${index - 1}(1)` })),
  };
  for (const sql of ['SELECT 1::d4999', 'SELECT * FROM v4999', 'SELECT f4999(1)']) assert.equal(judge(sql, facts).level, 'HIGH', sql);
  for (const sql of ['SELECT id FROM t WHERE id = 1', 'SELECT * FROM v20', 'SELECT 1::d20']) assert.equal(judge(sql, facts).level, 'SAFE', sql);
});

test('what the name of a rule says is no action of it', () => {
  const rule = (name: string, actions: string): Partial<CatalogFacts> => ({ functions: [evil], relations: [table('t', { rules: [{ name: 'r', event: 'update', instead: true, definition: `CREATE RULE "${name}" AS\n    ON UPDATE TO public.t DO INSTEAD  ${actions};` }] }), table('vault')] });
  const objects = (facts: Partial<CatalogFacts>): readonly (string | undefined)[] => judge('UPDATE t SET id = 1 WHERE id = 2', facts).effects.filter(({ kind }) => kind === 'delete').map(({ object }) => object);
  for (const name of ['plain', 'a DO SELECT 1; SELECT $$', 'x DO NOTHING']) assert.deepEqual(objects(rule(name, "DELETE FROM public.vault WHERE (vault.id::text <> '$$ --'::text)")), ['public.vault'], name);
  assert.deepEqual(objects(rule('several', '( INSERT INTO public.t VALUES (1); DELETE FROM public.vault)')), ['public.vault']);
});

test('a cycle between policies hides nothing, whichever table is asked first', () => {
  const secured = (name: string, using: string): RelationFact => table(name, { rowSecurity: true, policies: [{ name: 'p', command: 'all', using }] });
  const catalog = catalogOf({ functions: [evil], relations: [
    secured('a', 'public.evil() = 1 AND EXISTS (SELECT FROM public.b)'), secured('b', 'EXISTS (SELECT FROM public.a)'),
  ] });
  for (const sql of ['SELECT * FROM a', 'SELECT * FROM b', 'SELECT * FROM a']) {
    assert.equal(assess(sql, session, catalog, parser).risk.level, 'HIGH', sql);
  }
});

test('a cascade that comes back to where it began ends, and names each table once', () => {
  const key = (from: string, to: string): CatalogFacts['foreignKeys'][number] => ({
    name: `${from}_${to}`, from: `public.${from}`, fromColumns: ['id'], to: `public.${to}`, toColumns: ['id'], onDelete: 'cascade', onUpdate: 'no-action',
  });
  const risk = judge('DELETE FROM a WHERE id = 1', { relations: [table('a'), table('b')], foreignKeys: [key('b', 'a'), key('a', 'b')] });
  assert.deepEqual(risk.effects.filter((effect) => effect.kind === 'delete' && effect.detail === 'ON DELETE CASCADE').map((effect) => effect.object), ['public.b', 'public.a']);
});

/** Functions f0, f1, … whose bodies call each other as the graph says; some of them also call one that acts. */
function callGraph(calls: readonly (readonly number[])[], acting: ReadonlySet<number>): readonly FunctionFact[] {
  return [evil, ...calls.map((called, index) => fn(`f${index}`, {
    source: `SELECT ${[...called.map((other) => `public.f${other}()`), ...(acting.has(index) ? ['public.evil()'] : []), '1'].join(', ')}`,
  }))];
}

test('in any graph of functions that call each other, what acts is found from everywhere that leads to it, in any order of asking', () => {
  fc.assert(fc.property(
    fc.array(fc.array(fc.nat(5), { maxLength: 3 }), { minLength: 6, maxLength: 6 }), fc.array(fc.nat(5), { maxLength: 2 }), fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), fc.boolean(),
    (calls, acting, order, hasTemporary) => {
      const catalog = catalogOf({ functions: callGraph(calls, new Set(acting)) });
      const now = hasTemporary ? { ...session, temporary: new Set(['mine']) } : session;
      for (const start of order) {
        const reached = new Set([start]);
        for (const at of reached) for (const next of calls[at] ?? []) reached.add(next);
        const { level } = assess(`SELECT f${start}()`, now, catalog, parser).risk;
        assert.equal(level, acting.some((one) => reached.has(one)) ? 'HIGH' : 'SAFE', `f${start} of ${JSON.stringify({ calls, acting })}`);
      }
    },
  ), { numRuns: 150 });
});

test('functions that all call each other are each read a few times, not once for every way through them', () => {
  const all = Array.from({ length: 14 }, (_, index) => index);
  for (const temporary of [new Set<string>(), new Set(['mine'])]) {
    let parses = 0;
    const counting = { ...parser, parse: (sql: string) => { parses += 1; return parser.parse(sql); } };
    assess('SELECT f0()', { ...session, temporary }, catalogOf({ functions: callGraph(all.map(() => all), new Set([3])) }), counting);
    assert.ok(parses < 200, `${parses} texts were parsed`);
  }
});
