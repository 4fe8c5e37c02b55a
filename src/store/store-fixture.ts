/**
 * A fresh store in a folder of its own, for tests: the same tests run over every kind of store.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VerdictBody } from '../core/ledger/entry.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { createApprovals, type Approvals, type Wanted } from './approvals.ts';
import { openDatabase, type StoreDatabase } from './database.ts';
import { createIdentities, type Identities } from './identities.ts';
import { createLedger, type Ledger } from './ledger.ts';

export interface TestStore {
  readonly folder: string;
  readonly database: StoreDatabase;
  readonly ledger: Ledger;
  readonly approvals: Approvals;
  readonly identities: Identities;
  close(): Promise<void>;
}

const made: string[] = [];
process.once('exit', () => { for (const folder of made) rmSync(folder, { recursive: true, force: true }); });

/** Removed when the process ends, if not before. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-store-'));
  made.push(folder);
  return folder;
}

export function openStore(folder = newFolder(), clock: Clock = systemClock): TestStore {
  const database = openDatabase(folder);
  const ledger = createLedger({ database, clock });
  return {
    folder, database, ledger, approvals: createApprovals({ database, clock }),
    identities: createIdentities({ database, clock, randomBytes, makeVerifier: (token) => Promise.resolve(`verifier of ${token.length}`) }),
    close: async () => {
      await ledger.close();
      await database.close();
    },
  };
}

export async function withStore(work: (store: TestStore) => Promise<void>, clock?: Clock): Promise<void> {
  const store = openStore(newFolder(), clock);
  try {
    await work(store);
  } finally {
    await store.close();
    rmSync(store.folder, { recursive: true });
  }
}

export function verdictOf(actionId: string): VerdictBody {
  return {
    kind: 'verdict', actionId, sessionId: 'ses_1', agent: 'ada', database: 'shop', role: 'app', searchPath: ['public'],
    digest: 'd', fingerprint: 'f', text: 'DELETE FROM t WHERE id = ?', level: 'HIGH', reasons: ['delete.where'], effects: ['delete t'],
    destroys: true, recoverability: 'exact-rows', decision: 'allow', wouldBe: 'hold', fired: [], policyName: 'develop', policyHash: 'p',
    catalogVersion: 'c', approvalId: null,
  };
}

export function readOf(actionId: string, text = 'SELECT ?'): Parameters<Ledger['issueRead']>[0] {
  return { actionId, sessionId: 'ses_1', agent: 'ada', database: 'shop', digest: 'd', fingerprint: 'f', text, policyName: 'protect', policyHash: 'p' };
}

export function wanted(id: string, binding = 'b', expiresAt = '2999-01-01T00:00:00.000Z'): Wanted {
  return {
    id, binding, expiresAt, actionId: `act_${id}`, agent: 'ada', database: 'shop', redacted: 'DELETE FROM t WHERE id = ?',
    risk: { level: 'HIGH', reasons: [], effects: [], destroys: true, recoverability: 'exact-rows', assumptions: [] },
    verdict: { decision: 'hold', wouldBe: 'hold', level: 'HIGH', fired: [], policyName: 'protect', policyHash: 'p' },
  };
}
