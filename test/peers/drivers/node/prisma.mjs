/** Prisma 7 with its driver adapter for node-postgres: the client, nested reads, batches and interactive transactions. */
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from './generated/client.ts';
import { endless, fails, note, oneToTwelve, run, types } from './scenario.mjs';

// [connect
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 1 }) });
// connect]

const raw = (text) => prisma.$queryRawUnsafe(text).then((rows) => JSON.parse(JSON.stringify(rows, (key, value) => (typeof value === 'bigint' ? String(value) : value))));
const noteOf = (...ids) => prisma.notes.findMany({ where: { id: { in: ids } }, orderBy: { id: 'asc' } });
/** More than a person needs to answer. */
const patient = { timeout: 60_000, maxWait: 60_000 };

async function undone(work) {
  const stop = new Error('undone');
  await prisma.$transaction(async (inside) => {
    await work(inside);
    throw stop;
  }, patient).catch((error) => { if (error !== stop) throw error; });
}

await run({
  read: async () => [
    await Promise.all(oneToTwelve.map((id) => prisma.customers.findUnique({ where: { id }, select: { name: true } }))), await raw(types),
    (await prisma.orders.findMany({ select: { id: true }, orderBy: { id: 'asc' } })).length, await fails(raw('SELECT 1/0')), await raw('SELECT 1 AS one'),
  ],
  held: async () => [await prisma.notes.create({ data: { id: note, body: 'Prisma' } }), await noteOf(note)],
  held_in_transaction: async () => {
    await undone((inside) => inside.notes.create({ data: { id: note + 1, body: 'taken back' } }));
    await prisma.$transaction((inside) => inside.notes.create({ data: { id: note + 2, body: 'stays' } }), patient);
    return noteOf(note + 1, note + 2);
  },
  denied: async () => [await fails(prisma.customers.update({ where: { id: 5 }, data: { name: 'changed' } })), await prisma.customers.findUnique({ where: { id: 5 } })],
  refused: async () => [await fails(prisma.$executeRawUnsafe('DELETE FROM payments')), await prisma.payments.count()],
  refused_in_transaction: async () => {
    const seen = [];
    await undone(async (inside) => {
      seen.push(await inside.payments.count(), await fails(inside.$executeRawUnsafe('DELETE FROM payments')), await fails(inside.$queryRawUnsafe('SELECT 1')));
    });
    return [...seen, await prisma.payments.count()];
  },
  /** Prisma has no cancel of its own; a limit of time on the server ends the query as one. */
  cancel: async () => {
    const failed = await fails(prisma.$transaction(async (inside) => {
      await inside.$executeRawUnsafe("SET LOCAL statement_timeout = '500ms'");
      await inside.$queryRawUnsafe(endless('a'));
    }, patient));
    return [failed, await raw('SELECT 1 AS one')];
  },
  reconnect: async () => {
    await raw(endless('lost')).then(() => { throw new Error('it ran, and must not'); }, () => undefined);
    return prisma.customers.count();
  },
  own_nested_read: () => prisma.customers.findFirst({ where: { orders: { some: { status: 'paid' } } }, orderBy: { id: 'asc' }, select: { id: true, name: true, orders: { select: { id: true, payments: { select: { amount: true } } }, take: 2, orderBy: { id: 'asc' } } } }),
  own_aggregates: () => prisma.orders.groupBy({ by: ['status'], _count: true, _sum: { total: true }, orderBy: { status: 'asc' } }),
  own_create_many: () => prisma.notes.createMany({ data: oneToTwelve.map((i) => ({ id: note + 10 + i, body: 'many' })), skipDuplicates: true }),
  own_upsert: () => prisma.notes.upsert({ where: { id: note + 40 }, create: { id: note + 40, body: 'made' }, update: { body: 'changed' } }),
  own_batch: async () => (await prisma.$transaction([prisma.customers.count(), prisma.orders.count()])),
});
