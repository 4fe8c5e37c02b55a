/** Whatever random statements do to random schemas is undone: five hundred cases on PostgreSQL 18, and on 15 as Debian ships it. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { everythingComesBack } from '../fixtures/undo/comes-back.ts';
import { missingFile } from './peer.ts';

const programs15 = '/usr/lib/postgresql/15/bin';
const cases = Number(process.env['UNDO_CASES'] ?? 500);

everythingComesBack('on PostgreSQL 18', () => startPostgresServer(), { major: 18, cases });
everythingComesBack('on PostgreSQL 15', () => startPostgresServer({}, programs15), { major: 15, cases, skip: missingFile(programs15) });
