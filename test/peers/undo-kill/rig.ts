/**
 * The rig of the kill test of recovery points: `backstop up` in a process of its own, started and killed again and again on
 * the same data and `backstop undo` as an operator runs it beside it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawn, type ChildProcess } from 'node:child_process';
import { openMemory } from '../../../src/app/memory.ts';
import { fillShop } from '../../fixtures/backstop.ts';
import { freePort, type PostgresServer } from '../../fixtures/postgres-server.ts';
import { runProgram } from '../../fixtures/run-program.ts';
import { placeFromText } from '../../fixtures/store.ts';
import { until } from '../../fixtures/until.ts';

export interface UndoRig {
  /** As that agent, through the gateway. */
  url(agent: string): string;
  /** Begins a process; resolves once it says that it serves. */
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Every row and every definition, past the gateway. */
  state(): Promise<readonly string[]>;
  /** The end of what Backstop has said. */
  log(): string;
  /** Undoes all that was done from then on, in one transaction; returns how many recovery points there were. */
  undoSince(since: string): Promise<number>;
  close(): Promise<void>;
}

const main = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const startMsMax = 60_000;
const undoMsMax = 120_000;
const sessionMsMax = 60_000;
const nothingToUndo = 'backstop: no action of then can be undone';
const policy = `
name: killed
description: Everything is allowed that can be undone.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: deny
recovery: { required_from: LOW }
`;

export async function startUndoRig(server: PostgresServer, tables: string): Promise<UndoRig> {
  const dataDir = mkdtempSync(join(tmpdir(), 'backstop-undo-killed-'));
  const upstream = await fillShop(server);
  await server.run(`SET ROLE shopkeeper; ${tables}`, 'shop');
  const policyFile = join(dataDir, 'killed.yaml');
  writeFileSync(policyFile, policy);
  const memory = await openMemory(placeFromText(dataDir));
  const tokens = new Map<string, string>();
  for (const agent of ['ada', 'bob', 'cleo']) tokens.set(agent, (await memory.identities.addAgent(agent, null, 'test')).token);
  const { token: operatorToken } = await memory.identities.addOperator('olga');
  const port = await freePort();
  let child: ChildProcess | undefined;
  let log = '';
  const kill = async (): Promise<void> => {
    const last = child;
    child = undefined;
    if (last === undefined || last.exitCode !== null || last.signalCode !== null) return;
    const ended = once(last, 'exit');
    last.kill('SIGKILL');
    await ended;
  };
  const abandon = (): void => { child?.kill('SIGKILL'); };
  process.once('exit', abandon);
  return {
    url: (agent) => `postgres://${agent}:${tokens.get(agent) ?? ''}@127.0.0.1:${port}/shop`,
    start: async () => {
      const begun = child = spawn(process.execPath, [
        '--disable-warning=ExperimentalWarning', main, 'up', '--data', dataDir, '--upstream', upstream, '--policy', policyFile, '--environment', 'dev',
        '--gateway-port', String(port), '--gateway-tls', 'off', '--http-port', '0',
      ], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_COMPILE_CACHE: join(dataDir, 'compiled') } });
      log = '';
      for (const stream of [begun.stdout, begun.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { log = (log + text).slice(-5_000); });
      await until('it serves', () => {
        if (begun.exitCode !== null) throw new Error(`it ended with code ${begun.exitCode}\n${log}`);
        return Promise.resolve(log.includes('Ctrl-C stops everything'));
      }, startMsMax);
    },
    log: () => log,
    kill,
    state: () => stateOf(server),
    undoSince: async (since) => {
      // What a session of the killed process was about to commit is committed or not before anybody looks.
      await until('the server has ended the sessions that were left', async () => (await server.run("SELECT FROM pg_stat_activity WHERE usename = 'shopkeeper' AND xact_start IS NOT NULL")).length === 0, sessionMsMax);
      // What nobody heard the end of is found out by the Backstop that runs now, or by the undo itself.
      if (child !== undefined) await until('every recovery point has its fate', async () => (await memory.recoveryPoints.list({ states: ['sealed', 'unknown'], limit: 1 })).length === 0, sessionMsMax);
      const points = await memory.recoveryPoints.list({ since, limit: 1_000 });
      const ended = await runProgram(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'undo', '--since', since, '--yes', '--json', '--data', dataDir, '--upstream', upstream], { env: { BACKSTOP_OPERATOR_TOKEN: operatorToken }, msMax: undoMsMax });
      // Nothing to undo is an answer too, and then nothing may have changed.
      assert.ok(ended.code === 0 || ended.stderr.startsWith(nothingToUndo), `${ended.stdout}\n${ended.stderr}\n${points.map(({ id, state, agent, method }) => `${id} ${state} ${agent} ${method}`).join('\n')}`);
      return points.length;
    },
    close: async () => {
      process.off('exit', abandon);
      await kill();
      await memory.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** As it prints, with the columns, indexes, constraints and views of every table. */
async function stateOf(server: PostgresServer): Promise<readonly string[]> {
  const all: string[] = [];
  for (const row of await server.run("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1", 'shop')) {
    const name = String(row['relname']);
    all.push(...(await server.run(`SELECT t::text AS text FROM ${name} t`, 'shop')).map(({ text }) => `${name} ${String(text)}`).sort());
  }
  const definitions = await server.run(`SELECT format('%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)) AS text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT pg_get_constraintdef(oid) || conrelid::regclass FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conparentid = 0 UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT viewname || definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1`, 'shop');
  return [...all, ...definitions.map(({ text }) => String(text))];
}
