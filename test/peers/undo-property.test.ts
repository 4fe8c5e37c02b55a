/** Whatever random statements do to random schemas is undone: hundreds of cases on PostgreSQL 18, and on 15 as Debian ships it; more with UNDO_CASES. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { everythingComesBack } from '../fixtures/undo/comes-back.ts';
import { missingFile } from './peer.ts';

const programs15 = '/usr/lib/postgresql/15/bin';
/** Of changes of rows, and as many of drops and alterations, on each version. */
const cases = Number(process.env['UNDO_CASES'] ?? 130);

everythingComesBack('on PostgreSQL 18', () => startPostgresServer(), { major: 18, cases });
everythingComesBack('on PostgreSQL 15', () => startPostgresServer({}, programs15), { major: 15, cases, skip: missingFile(programs15) });
