/**
 * The store on PostgreSQL: every test of the store and the guard's simulation run again on it, word for word as on SQLite.
 */
import { after } from 'node:test';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { postgresStores } from '../fixtures/postgres-stores.ts';
import { useStores } from '../fixtures/store.ts';

const server = await startPostgresServer();
after(() => server.stop());
useStores(await postgresStores(server));
for (const name of ['store/database', 'store/identities', 'store/approvals', 'store/budgets', 'store/ledger', 'store/ledger-faults', 'store/nodes', 'store/recovery-points', 'flow/purge', 'flow/guard', 'flow/guard-simulation', 'flow/protect-killed']) {
  await import(new URL(`../../src/${name}.test.ts`, import.meta.url).href);
}
