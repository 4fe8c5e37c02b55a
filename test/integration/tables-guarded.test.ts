/**
 * What takes tables, sent by an agent through a whole Backstop whose role is no superuser, and undone by the command of an
 * operator: the client sees what PostgreSQL says, and afterwards the whole database is as it was.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { openTablesScene, type TablesScene } from '../fixtures/tables-scene.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const policy = `
name: trusting
description: Lets everything run that can be undone.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: deny
recovery:
  required_from: HIGH
  recycle_bin: { tables: [payments] }
`;

let folder: string;
let backstop: RunningBackstop;
let scene: TablesScene;
let token: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'backstop-trusting-'));
  writeFileSync(join(folder, 'trusting.yaml'), policy);
  backstop = await startBackstop({ policy: join(folder, 'trusting.yaml') });
  scene = await openTablesScene(backstop.directUrl());
  ({ token } = await backstop.memory.identities.addOperator('olga'));
});
after(async () => {
  await scene?.close();
  await backstop?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Ran { readonly code: number; readonly stdout: string; readonly stderr: string }

function undoLast(): Promise<Ran> {
  const env = { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_'))), BACKSTOP_OPERATOR_TOKEN: token };
  const all = ['undo', 'last', '--yes', '--data', dirname(backstop.certificateFile), '--upstream', backstop.directUrl()];
  return new Promise((resolve) => {
    const child = execFile(program, all, { env, cwd: folder }, (error, stdout, stderr) => { resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }); });
    child.stdin?.end();
  });
}

const isBinned = (state: ReadonlyMap<string, string>): boolean => [...state.keys()].some((what) => what.includes('backstop_recycle_bin'));

describe('an agent’s statement that takes tables', () => {
  const statements: readonly (readonly [statement: string, tag: string, inBin: boolean])[] = [
    ['DROP TABLE notes', 'DROP', false], ['DROP TABLE customers CASCADE', 'DROP', false], ['DROP TABLE every_type', 'DROP', false], ['DROP TABLE payments', 'DROP', true], ['TRUNCATE orders CASCADE', 'TRUNCATE', false], ['TRUNCATE notes RESTART IDENTITY', 'TRUNCATE', false],
    ['ALTER TABLE customers DROP COLUMN email', 'ALTER', false], ['ALTER TABLE payments ALTER COLUMN amount TYPE integer USING 0', 'ALTER', false], ['DROP VIEW customer_totals', 'DROP', false], ['DROP TYPE mood CASCADE', 'DROP', false],
  ];
  for (const [statement, tag, inBin] of statements) {
    for (const block of [false, true]) {
      it(`is undone: ${statement}${block ? ', in a transaction of its own' : ''}`, async () => {
        const was = await scene.state();
        await withPgClient(backstop.agentUrl(), async (client) => {
          if (block) await client.query('BEGIN');
          assert.equal((await client.query(statement)).command, tag);
          if (block) await client.query('COMMIT');
          assert.equal((await client.query<{ one: number }>('SELECT 1 AS one')).rows[0]?.one, 1);
        });
        const taken = await scene.state();
        assert.notDeepEqual(taken, was);
        assert.equal(isBinned(taken), inBin);
        const { code, stderr } = await undoLast();
        assert.equal(code, 0, stderr);
        assert.deepEqual(await scene.state(), was);
      });
    }
  }

  it('that is rolled back by its client leaves nothing, not even a recycle bin', async () => {
    const was = await scene.state();
    await withPgClient(backstop.agentUrl(), async (client) => {
      await client.query('BEGIN');
      await client.query('DROP TABLE payments');
      await client.query('ROLLBACK');
    });
    assert.deepEqual(await scene.state(), was);
  });

  it('that cannot be undone does not run', async () => {
    await scene.run('CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 + $2 $$', 'CREATE OPERATOR ### (leftarg = int, rightarg = int, function = plus)');
    const was = await scene.state();
    await withPgClient(backstop.agentUrl(), async (client) => {
      await assert.rejects(client.query('DROP FUNCTION plus(int, int) CASCADE'), (error) => error instanceof Error && /could not be made again exactly: operator public\.###/.test(error.message));
      assert.equal((await client.query<{ one: number }>('SELECT 1 AS one')).rows[0]?.one, 1);
    });
    assert.deepEqual(await scene.state(), was);
  });
});
