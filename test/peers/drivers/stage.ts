/**
 * The stage on which drivers play: a PostgreSQL with two shops of the same content, one reached direct by a role that
 * lacks the rights which Backstop refuses, one through a Backstop under `protect` (and one under `develop`).
 */
import { after, before, describe, it } from 'node:test';
import { holdingPolicy, fillShop, startBackstop, type RunningBackstop } from '../../fixtures/backstop.ts';
import type { PostgresServer } from '../../fixtures/postgres-server.ts';
import { drivers } from './drivers.ts';
import { play, type Scene } from './scenario.ts';

export interface Upstream {
  readonly server: PostgresServer;
  /** What stands between Backstop and the server, given the server's URL: another URL. Absent: nothing. */
  readonly through?: (url: string) => Promise<string>;
  stop(): Promise<void>;
}

export interface StageOptions {
  readonly name: string;
  readonly skip: string | false;
  readonly isShort?: boolean;
  /** How agents connect; absent, as their driver does when nothing is said. */
  readonly sslmode?: 'verify-full' | 'disable';
  readonly start: () => Promise<Upstream>;
}

const firstNoteOfAll = 10_000;
const notesEach = 100;

export function playAllOn({ name, skip, isShort = false, sslmode, start }: StageOptions): void {
  let upstream: Upstream;
  let scene: Scene;
  before(async () => {
    if (skip !== false) return;
    upstream = await start();
    const { server, through = async (url) => url } = upstream;
    const direct = await directShop(server);
    const shared = { server, url: await through(direct.replace(/shop_direct$/, 'shop')) };
    const backstop = await startBackstop({ shared, policy: holdingPolicy, waitSeconds: 30 });
    const develop: RunningBackstop = await startBackstop({ shared, policy: 'develop' });
    scene = {
      server, backstop, develop, isShort,
      direct: { url: direct, developUrl: direct }, gateway: { url: urlOf(backstop, sslmode), developUrl: urlOf(develop, sslmode) },
    };
  });
  after(async () => {
    await scene?.backstop.stop();
    await scene?.develop.stop();
    await upstream?.stop();
  });
  describe(name, { skip }, () => {
    for (const [at, driver] of drivers.entries()) {
      it(driver.mode === undefined ? driver.name : `${driver.name}, ${driver.mode}`, { skip: driver.skip }, async (t) => { await play(t, scene, await driver.prepare(), firstNoteOfAll + at * notesEach); });
    }
  });
}

function urlOf(backstop: RunningBackstop, sslmode: StageOptions['sslmode']): string {
  const url = backstop.agentUrl();
  if (sslmode === undefined) return url;
  return `${url}?sslmode=${sslmode}${sslmode === 'verify-full' ? `&sslrootcert=${backstop.certificateFile}` : ''}`;
}

/** A copy of the shop in which its own role may not do what Backstop refuses: PostgreSQL answers with the same SQLSTATE. */
async function directShop(server: PostgresServer): Promise<string> {
  const url = await fillShop(server);
  await server.run('CREATE DATABASE shop_direct TEMPLATE shop OWNER shopkeeper');
  await server.run('REVOKE DELETE ON payments FROM shopkeeper; REVOKE UPDATE ON customers FROM shopkeeper', 'shop_direct');
  return url.replace(/shop$/, 'shop_direct');
}
