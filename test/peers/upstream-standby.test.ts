/**
 * A PostgreSQL 15 primary and a standby that streams from it (Debian's programs): which of them a session gets, and what
 * becomes of sessions when the primary dies and the standby is promoted.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startBackstop, type Backstop } from '../../src/app/backstop.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/lib/log.ts';
import { connectLink } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { startPostgresServer, startStandby, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';
import { missingFile } from './peer.ts';

const bin = '/usr/lib/postgresql/15/bin';

describe('a primary and its standby', { skip: missingFile(join(bin, 'pg_basebackup')) }, () => {
  let primary: PostgresServer;
  let standby: PostgresServer;
  let backstop: Backstop | undefined;
  const dataDir = mkdtempSync(join(tmpdir(), 'backstop-standby-'));
  const both = (more: string): string =>
    `host=127.0.0.1,127.0.0.1 port=${standby.port},${primary.port} user=postgres password=${primary.password} dbname=postgres sslmode=disable ${more}`;

  before(async () => {
    primary = await startPostgresServer({}, bin);
    await primary.run('CREATE TABLE items (id int)');
    standby = await startStandby(primary, bin);
  });
  after(async () => {
    await backstop?.stop();
    await Promise.all([primary?.stop(), standby?.stop()]);
    rmSync(dataDir, { recursive: true, force: true });
  });

  for (const [wanted, got] of [['any', 'standby'], ['standby', 'standby'], ['prefer-standby', 'standby'], ['read-only', 'standby'], ['primary', 'primary'], ['read-write', 'primary']] as const) {
    it(`target_session_attrs=${wanted} takes the ${got}`, async () => {
      const link = await connectLink(parseConnectionString(both(`target_session_attrs=${wanted}`)));
      const { rows } = await link.query('SELECT pg_is_in_recovery()');
      assert.equal(rows[0]?.[0], got === 'standby' ? 't' : 'f');
      await link.end();
    });
  }

  it('sessions go to the standby once it is promoted, and its catalog is read anew', async () => {
    const config = loadConfig({
      env: { BACKSTOP_UPSTREAM: both('target_session_attrs=read-write') }, cwd: dataDir,
      flags: { data: dataDir, gatewayPort: '0', httpPort: '0', policy: 'protect', approvalWait: '0', logLevel: 'silent' },
    });
    backstop = await startBackstop(config, createLog({ level: 'silent' }));
    const { token } = await backstop.identities.addAgent('ada', null, 'test');
    const connect = async (): Promise<pg.Client> => {
      const client = new pg.Client({ host: '127.0.0.1', port: backstop?.gateway.port, user: 'ada', password: token, database: 'postgres' });
      client.on('error', () => { /* its server dies in this test */ });
      await client.connect();
      return client;
    };
    const early = await connect();
    assert.equal((await early.query('SHOW port')).rows[0]?.port, String(primary.port));
    const ended = new Promise((resolve) => { early.once('error', resolve); });
    primary.shutDown('immediate');
    await ended;
    await assert.rejects(connect(), /None of the database servers can be used/, 'a standby is not what was asked for');

    await standby.run('SELECT pg_promote(true)');
    const late = await until('the promoted server takes sessions', () => connect().catch(() => undefined));
    assert.equal((await late.query('SHOW port')).rows[0]?.port, String(standby.port));
    await standby.run("CREATE FUNCTION wipe() RETURNS void LANGUAGE sql AS 'DELETE FROM items'");
    await assert.rejects(late.query('SELECT wipe()'), { code: '42501' });
    await late.end();
  });
});
