/** What a DROP takes with it comes back, on PostgreSQL 18. */
import { definitionComesBack } from '../fixtures/definition/comes-back.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';

definitionComesBack('on PostgreSQL 18', () => startPostgresServer({ wal_level: 'logical' }));
