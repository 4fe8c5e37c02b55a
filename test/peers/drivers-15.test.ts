/** Every driver against PostgreSQL 15, as Debian ships it, direct and through the gateway without TLS. */
import { existsSync } from 'node:fs';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { playAllOn } from './drivers/stage.ts';

const programs = '/usr/lib/postgresql/15/bin';

playAllOn({
  name: 'through the gateway to PostgreSQL 15', skip: existsSync(programs) ? false : 'not installed: postgresql-15', sslmode: 'disable',
  start: async () => { const server = await startPostgresServer({}, programs); return { server, stop: server.stop }; },
});
