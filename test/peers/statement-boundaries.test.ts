/** PostgreSQL 15 (Debian's) and our parser agree where statements begin and end, over generated texts. */
import { join } from 'node:path';
import { test } from 'node:test';
import { readBoundaries } from '../fixtures/statement-boundaries.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { missingFile } from './peer.ts';

const bin = '/usr/lib/postgresql/15/bin';

test('the parser reads as many statements as PostgreSQL 15 runs, or refuses the text (H3)', { skip: missingFile(join(bin, 'postgres')) }, async () => {
  const server = await startPostgresServer({}, bin);
  try {
    await readBoundaries(server, 15, 8_000);
  } finally {
    await server.stop();
  }
});
