/** PostgreSQL 18 and our parser agree where statements begin and end, over generated texts. */
import { readBoundaries } from '../fixtures/statement-boundaries.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { test } from 'node:test';

test('the parser reads as many statements as PostgreSQL 18 runs, or refuses the text (H3)', async () => {
  const server = await startPostgresServer();
  try {
    await readBoundaries(server, 18, 4_000);
  } finally {
    await server.stop();
  }
});
