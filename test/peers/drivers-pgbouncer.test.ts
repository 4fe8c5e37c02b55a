/** Every driver's eight steps with PgBouncer (session mode) between the gateway and PostgreSQL 18, and TLS as each prefers. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { startPgBouncer } from './drivers/pgbouncer.ts';
import { playAllOn } from './drivers/stage.ts';
import { missing } from './peer.ts';

playAllOn({
  name: 'through the gateway and PgBouncer to PostgreSQL 18', skip: missing('pgbouncer'), isShort: true,
  start: async () => {
    const server = await startPostgresServer();
    let stopPooler: (() => Promise<void>) | undefined;
    const through = async (url: string): Promise<string> => {
      const at = new URL(url);
      const pooler = await startPgBouncer(at);
      stopPooler = pooler.stop;
      at.port = String(pooler.port);
      return at.href;
    };
    return { server, through, stop: async () => { await stopPooler?.(); await server.stop(); } };
  },
});
