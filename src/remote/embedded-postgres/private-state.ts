/**
 * What the embedded PostgreSQL needs to be found again: the passwords of its two roles and its last port, in one file of
 * the data folder that only its owner can read. The passwords are random and never leave this machine.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Failure } from '../../core/failure.ts';

const schema = z.strictObject({
  superuserPassword: z.string().min(20),
  /** Of the role under which the gateway connects. */
  gatewayPassword: z.string().min(20),
  port: z.int().min(0).max(65_535),
});
export type PrivateState = Readonly<z.infer<typeof schema>>;

const passwordBytes = 24;

/** Throws Failure `store_unavailable` when the file is there and is not what was written. */
export function readPrivateState(dataDir: string): PrivateState | undefined {
  const path = fileIn(dataDir);
  if (!existsSync(path)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new Failure('store_unavailable', `${path} cannot be read or was changed`, { cause, hint: 'Restore it from a copy, or name another folder with --data.' });
  }
}

export function newPrivateState(): PrivateState {
  const password = (): string => randomBytes(passwordBytes).toString('base64url');
  return { superuserPassword: password(), gatewayPassword: password(), port: 0 };
}

/** Replaces the file as a whole, so that no crash leaves half of it. */
export function writePrivateState(dataDir: string, state: PrivateState): void {
  const unfinished = `${fileIn(dataDir)}.new`;
  writeFileSync(unfinished, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(unfinished, fileIn(dataDir));
}

function fileIn(dataDir: string): string { return join(dataDir, 'postgres.json'); }
