/** Every driver against PostgreSQL 18, direct and through the gateway, whose certificate the driver verifies. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { playAllOn } from './drivers/stage.ts';

playAllOn({
  name: 'through the gateway to PostgreSQL 18', skip: false, sslmode: 'verify-full',
  start: async () => { const server = await startPostgresServer(); return { server, stop: server.stop }; },
});
