/** Whatever random statements do to random schemas is undone, on PostgreSQL 18. `UNDO_CASES=500` for more of them, `UNDO_SEED` for others. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { everythingComesBack } from '../fixtures/undo/comes-back.ts';

everythingComesBack('on PostgreSQL 18', () => startPostgresServer(), { major: 18, cases: Number(process.env['UNDO_CASES'] ?? 25) });
