/**
 * Kysely, unaware of Backstop, works through the gateway: the query builder an agent's application is likely to use,
 * with its introspection, streaming and transactions, and its writes held and approved.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Kysely, PostgresDialect, sql, type Generated } from 'kysely';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { askingPolicy, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { asPgError } from '../fixtures/pg-error.ts';

interface Shop {
  readonly customers: { readonly id: Generated<number>; readonly name: string; readonly email: string; readonly created_at: Generated<Date> };
  readonly orders: { readonly id: Generated<number>; readonly customer_id: number; readonly status: Generated<string>; readonly total: string };
  readonly customer_totals: { readonly id: number; readonly name: string; readonly orders: string; readonly total: string };
  readonly order_log: { readonly order_id: number; readonly was: string; readonly became: string };
}

let backstop: RunningBackstop;
let db: Kysely<Shop>;
before(async () => {
  backstop = await startBackstop({ policy: askingPolicy, waitSeconds: 20 });
  db = new Kysely<Shop>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: backstop.agentUrl(), max: 3 }), cursor: Cursor }) });
});
after(async () => {
  await db?.destroy();
  await backstop?.stop();
});

/** Approves the next hold that matches while the statement waits. */
async function approving<T>(match: RegExp, statement: Promise<T>): Promise<T> {
  const [result] = await Promise.all([statement, backstop.waitForHold(match).then(({ id }) => backstop.approve(id))]);
  return result;
}

describe('Kysely through the gateway', () => {
  it('joins, groups, orders and counts', async () => {
    const rows = await db.selectFrom('customers as c').innerJoin('orders as o', 'o.customer_id', 'c.id')
      .select(({ fn }) => ['c.name', fn.count<string>('o.id').as('orders'), fn.sum<string>('o.total').as('total')])
      .where('o.status', 'in', ['paid', 'shipped']).where('c.id', '<', 4)
      .groupBy('c.id').having(({ fn }) => fn.count('o.id'), '>', 0).orderBy('c.id').limit(10).execute();
    assert.equal(rows.length, 3);
    assert.ok(rows.every((row) => Number(row.orders) > 0 && Number(row.total) > 0));
  });

  it('reads a view, a CTE, a window and a lateral subquery', async () => {
    const top = await db.with('top', (q) => q.selectFrom('customer_totals').selectAll().orderBy('total', 'desc').limit(5))
      .selectFrom('top').select(['name', sql<string>`rank() OVER (ORDER BY total DESC)`.as('place')]).execute();
    assert.equal(top.length, 5);
    const latest = await db.selectFrom('customers as c')
      .innerJoinLateral((q) => q.selectFrom('orders').select(['orders.id as order_id']).whereRef('orders.customer_id', '=', 'c.id').orderBy('orders.id', 'desc').limit(1).as('o'), (j) => j.onTrue())
      .select(['c.id', 'o.order_id']).where('c.id', '=', 1).executeTakeFirstOrThrow();
    assert.equal(latest.order_id, 2000);
  });

  it('streams through a cursor', async () => {
    let seen = 0;
    for await (const row of db.selectFrom('orders').select('id').orderBy('id').stream(300)) { seen += 1; assert.equal(row.id, seen); }
    assert.equal(seen, 2000);
  });

  it('introspects the schema', async () => {
    const tables = await db.introspection.getTables();
    assert.ok(tables.some((t) => t.name === 'customers' && t.columns.some((c) => c.name === 'email' && !c.isNullable)));
  });

  it('inserts and returns once approved', async () => {
    const row = await approving(/insert into "?customers/i,
      db.insertInto('customers').values({ name: 'Ada', email: 'ada@example.test' }).returning(['id', 'name']).executeTakeFirstOrThrow());
    assert.equal(row.name, 'Ada');
    assert.equal((await backstop.upstream.run("SELECT name FROM customers WHERE email = 'ada@example.test'", 'shop'))[0]?.['name'], 'Ada');
  });

  it('updates once approved, and the trigger has run', async () => {
    const result = await approving(/update "?orders/i, db.updateTable('orders').set({ status: 'shipped' }).where('id', '=', 3).executeTakeFirst());
    assert.equal(result.numUpdatedRows, 1n);
    assert.equal((await db.selectFrom('order_log').select('became').where('order_id', '=', 3).execute()).length, 1);
  });

  it('commits a transaction whose write was approved, and rolls back one that throws', async () => {
    const insert = (email: string, fails: boolean): Promise<void> => db.transaction().setIsolationLevel('repeatable read').execute(async (tx) => {
      await approving(/insert into "?customers/i, tx.insertInto('customers').values({ name: 'tx', email }).execute());
      if (fails) throw new Error('no');
    });
    await insert('kept@example.test', false);
    await assert.rejects(insert('dropped@example.test', true), /no/);
    const rows = await backstop.upstream.run("SELECT email FROM customers WHERE name = 'tx'", 'shop');
    assert.deepEqual(rows, [{ email: 'kept@example.test' }]);
  });

  it('gets the refusal of a DELETE without WHERE as an ordinary error, and keeps its pool', async () => {
    const error = asPgError(await db.deleteFrom('orders').execute().catch((thrown: unknown) => thrown));
    assert.equal(error.code, '42501');
    assert.equal((await db.selectFrom('orders').select(({ fn }) => fn.countAll<string>().as('n')).executeTakeFirstOrThrow()).n, '2000');
  });
});
