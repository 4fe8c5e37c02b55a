/** Whatever takes tables is undone, on PostgreSQL 18. */
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { tablesComeBack } from '../fixtures/definition/tables-come-back.ts';

tablesComeBack('on PostgreSQL 18', () => startPostgresServer({ wal_level: 'logical' }));
