/** Two ways of capturing find the same, on PostgreSQL 18. */
import { captureMethodsAgree } from '../fixtures/capture-methods-agree.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';

captureMethodsAgree('on PostgreSQL 18', () => startPostgresServer());
