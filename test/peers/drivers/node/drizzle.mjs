/** Drizzle ORM on node-postgres: its query builder, relations and transactions. */
import { count, eq, inArray, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, numeric, pgTable, text } from 'drizzle-orm/pg-core';
import { relations } from 'drizzle-orm';
import pg from 'pg';
import { endless, fails, note, oneToTwelve, repeatedly, run, types, url } from './scenario.mjs';

const customers = pgTable('customers', { id: integer().primaryKey(), name: text().notNull(), email: text().notNull() });
const orders = pgTable('orders', { id: integer().primaryKey(), customerId: integer('customer_id').notNull(), status: text().notNull(), total: numeric() });
const notes = pgTable('notes', { id: integer().primaryKey(), body: text().notNull() });
const payments = pgTable('payments', { id: integer().primaryKey() });
const ofCustomer = relations(customers, ({ many }) => ({ orders: many(orders) }));
const ofOrder = relations(orders, ({ one }) => ({ customer: one(customers, { fields: [orders.customerId], references: [customers.id] }) }));

// [connect
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 });
const db = drizzle(pool, { schema: { customers, orders, notes, payments, ofCustomer, ofOrder } });
// connect]
pool.on('error', () => undefined);

const noteOf = (...ids) => db.select().from(notes).where(inArray(notes.id, ids)).orderBy(notes.id);
const paymentCount = (via = db) => via.select({ n: count() }).from(payments);

await run({
  read: async () => [
    await Promise.all(oneToTwelve.map((id) => db.select({ name: customers.name }).from(customers).where(eq(customers.id, id)))),
    (await db.execute(sql.raw(types))).rows, (await db.select({ id: orders.id }).from(orders)).length,
    await fails(db.execute(sql`SELECT 1/0`)), (await db.execute(sql`SELECT 1 AS one`)).rows,
  ],
  held: async () => [await db.insert(notes).values({ id: note, body: 'Drizzle' }).returning(), await noteOf(note)],
  held_in_transaction: async () => {
    await db.transaction(async (inside) => {
      await inside.insert(notes).values({ id: note + 1, body: 'taken back' });
      inside.rollback();
    }).catch((error) => { if (!/rollback/i.test(error.message)) throw error; });
    await db.transaction((inside) => inside.insert(notes).values({ id: note + 2, body: 'stays' }));
    return noteOf(note + 1, note + 2);
  },
  denied: async () => [await fails(db.update(customers).set({ name: 'changed' }).where(eq(customers.id, 5))), await db.select().from(customers).where(eq(customers.id, 5))],
  refused: async () => [await fails(db.delete(payments)), await paymentCount()],
  refused_in_transaction: async () => {
    const seen = [];
    await db.transaction(async (inside) => {
      seen.push(await paymentCount(inside), await fails(inside.delete(payments)), await fails(inside.select().from(notes)));
      inside.rollback();
    }).catch((error) => { if (!/rollback/i.test(error.message)) throw error; });
    return [...seen, await paymentCount()];
  },
  cancel: async () => {
    const client = await pool.connect();
    const failed = await repeatedly(() => new pg.Client({ connectionString: url }).cancel(client, client.activeQuery), () => fails(drizzle(client).execute(sql.raw(endless('a')))));
    client.release();
    return [failed, (await db.execute(sql`SELECT 1 AS one`)).rows];
  },
  reconnect: async () => {
    await db.execute(sql.raw(endless('lost'))).then(() => { throw new Error('it ran, and must not'); }, () => undefined);
    return db.select({ n: count() }).from(customers);
  },
  own_relations: () => db.query.customers.findFirst({ where: eq(customers.id, 7), with: { orders: { columns: { status: true } } } }),
  own_savepoint: () => db.transaction(async (outer) => {
    await outer.transaction(async (inner) => { await inner.execute(sql`SELECT 1/0`); }).catch(() => undefined);
    return outer.select({ n: count() }).from(customers);
  }),
  own_upsert: () => db.insert(notes).values({ id: note, body: 'again' }).onConflictDoNothing().returning(),
});
