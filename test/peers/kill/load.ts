/**
 * The load of the kill test: clients that read, write rows that are permitted, write rows that are held, and are refused,
 * until their connection breaks; and what each of them was told, which must be on record whatever happens next. A
 * statement's number stands in a name inside it (`AS n_17`), which the record keeps, and in the row that it writes.
 */
import pg from 'pg';

export interface Told {
  /** Numbers of statements that succeeded, and of those that Backstop refused. */
  readonly written: Set<number>;
  readonly refused: Set<number>;
  /** Approvals that a client was told to wait for. */
  readonly held: Set<string>;
}

export type Work = 'reads' | 'writes' | 'binds' | 'pipelines' | 'transactions' | 'holds' | 'is refused';
export const everyWork: readonly Work[] = ['reads', 'writes', 'binds', 'pipelines', 'transactions', 'holds', 'is refused'];

/** Works until the connection is gone; whatever else fails is thrown. */
export async function workUntilGone(url: string, work: Work, told: Told, next: () => number): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  let isGone = false;
  client.on('error', () => { isGone = true; }).on('end', () => { isGone = true; });
  client.on('notice', ({ message, hint, detail }) => {
    for (const [id] of `${message ?? ''} ${hint ?? ''} ${detail ?? ''}`.matchAll(/apr_\w+/g)) told.held.add(id);
  });
  try {
    await client.connect();
    while (!isGone) await step(client, work, told, next);
  } catch (error) {
    if (!isGone && !isBroken(error)) throw error;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function step(client: pg.Client, work: Work, told: Told, next: () => number): Promise<void> {
  const n = next();
  switch (work) {
    case 'reads': await client.query('SELECT count(*) FROM written'); return;
    case 'writes': await client.query(`INSERT INTO written (n) SELECT ${n} AS n_${n}`); break;
    case 'binds': await client.query(`INSERT INTO written (n) SELECT $1::int AS n_${n}`, [n]); break;
    case 'pipelines': {
      const then = next();
      const both = [n, then].map((one) => client.query(`INSERT INTO written (n) SELECT $1::int AS n_${one}`, [one]).then(() => { told.written.add(one); }));
      await Promise.all(both);
      return;
    }
    case 'transactions': return transactionStep(client, told, [n, next(), next()]);
    case 'holds': await client.query(`INSERT INTO held (n) SELECT ${n} AS n_${n}`); break;
    case 'is refused': await refusedStep(client, told, n); return;
  }
  told.written.add(n);
}

/** Its rows are sent ahead of their record, and its COMMIT waits for that. */
async function transactionStep(client: pg.Client, told: Told, numbers: readonly number[]): Promise<void> {
  await client.query('BEGIN');
  for (const one of numbers) await client.query(`INSERT INTO together (n) SELECT $1::int AS n_${one}`, [one]);
  await client.query('COMMIT');
  for (const one of numbers) told.written.add(one);
}

async function refusedStep(client: pg.Client, told: Told, n: number): Promise<void> {
  try {
    await client.query(`COPY (SELECT 1 AS n_${n}) TO PROGRAM 'true'`);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '42501') throw error;
    told.refused.add(n);
    return;
  }
  throw new Error('a program was let through');
}

/** What a client sees when the process behind its connection is gone, or is not there yet. */
function isBroken(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && ['ECONNRESET', 'ECONNREFUSED', 'EPIPE'].includes(String(error.code)))
    || /Connection terminated|not queryable|connection error|Client was closed/i.test(error.message);
}
