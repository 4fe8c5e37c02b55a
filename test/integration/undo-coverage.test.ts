/** How far each class of statements can be undone on PostgreSQL 18, as docs/recovery.md says it. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { coverageHolds } from '../fixtures/undo/coverage-table.ts';

coverageHolds(18, () => startPostgresServer());
