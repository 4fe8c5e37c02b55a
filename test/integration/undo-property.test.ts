/** Whatever random statements do to random schemas is undone, on PostgreSQL 18. `UNDO_CASES=500` for more of them. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { rowsComeBack } from '../fixtures/undo/rows-come-back.ts';

rowsComeBack('on PostgreSQL 18', () => startPostgresServer(), { major: 18, cases: Number(process.env['UNDO_CASES'] ?? 60) });
