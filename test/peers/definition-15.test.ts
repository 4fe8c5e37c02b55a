/** What a DROP takes with it comes back, on PostgreSQL 15, as Debian ships it. */
import { existsSync } from 'node:fs';
import { definitionComesBack } from '../fixtures/definition/comes-back.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';

const programs = '/usr/lib/postgresql/15/bin';

definitionComesBack('on PostgreSQL 15', () => startPostgresServer({ wal_level: 'logical' }, programs), existsSync(programs) ? false : 'not installed: postgresql-15');
