/** Whatever takes tables is undone, on PostgreSQL 15, as Debian ships it. */
import { existsSync } from 'node:fs';
import { tablesComeBack } from '../fixtures/definition/tables-come-back.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';

const programs = '/usr/lib/postgresql/15/bin';

tablesComeBack('on PostgreSQL 15', () => startPostgresServer({ wal_level: 'logical' }, programs), existsSync(programs) ? false : 'not installed: postgresql-15');
