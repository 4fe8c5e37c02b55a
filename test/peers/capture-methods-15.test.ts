/** Two ways of capturing find the same, on PostgreSQL 15, as Debian ships it. */
import { existsSync } from 'node:fs';
import { captureMethodsAgree } from '../fixtures/capture-methods-agree.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';

const programs = '/usr/lib/postgresql/15/bin';

captureMethodsAgree('on PostgreSQL 15', () => startPostgresServer({}, programs), existsSync(programs) ? false : 'not installed: postgresql-15');
