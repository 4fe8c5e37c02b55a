/** How far each class of statements can be undone on PostgreSQL 15, as Debian ships it and as docs/recovery.md says it. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { coverageHolds } from '../fixtures/undo/coverage-table.ts';
import { missingFile } from './peer.ts';

const programs = '/usr/lib/postgresql/15/bin';

coverageHolds(15, () => startPostgresServer({}, programs), missingFile(programs));
