/**
 * The embedded PostgreSQL 18: a real server that a newcomer need not install, with the demo database in it, kept in the
 * data folder and found again by the next start. It listens on the loopback address only, asks everyone for a password,
 * and never runs as root. One process at a time may start it from a data folder; the caller sees to that.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../core/failure.ts';
import type { Secret } from '../lib/secret.ts';
import { findCluster } from './embedded-postgres/cluster.ts';
import { demoDatabase, demoUpstream, prepareDemo } from './embedded-postgres/demo.ts';
import { findPlace } from './embedded-postgres/place.ts';
import { startPostmaster } from './embedded-postgres/postmaster.ts';
import { newPrivateState, readPrivateState, writePrivateState } from './embedded-postgres/private-state.ts';
import type { PrivateState } from './embedded-postgres/private-state.ts';
import { findPrograms } from './embedded-postgres/programs.ts';

export interface EmbeddedPostgres {
  /** The connection string of the gateway's own role, which is no superuser. */
  readonly upstream: Secret;
  readonly database: string;
  readonly port: number;
  /** Resolves when the server ends that nobody has stopped. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface EmbeddedPostgresDeps {
  /** Exists already. */
  readonly dataDir: string;
  /** What takes a moment, for whoever waits for it. */
  readonly onProgress: (what: string) => void;
}

/** Throws Failure `data_version`, `store_unavailable`, `upstream_unavailable`, `feature_not_supported` or `config_invalid`. */
export async function startEmbeddedPostgres({ dataDir, onProgress }: EmbeddedPostgresDeps): Promise<EmbeddedPostgres> {
  const place = findPlace(dataDir);
  const programs = await findPrograms(place.account);
  const state = stateFor(dataDir, existsSync(join(place.folder, 'data')));
  onProgress('starting PostgreSQL 18');
  const data = await findCluster(place, programs, state.superuserPassword);
  const server = await startPostmaster({
    program: programs.postgres, data, account: place.account, logFile: join(dataDir, 'postgres.log'), preferredPort: state.port,
  });
  try {
    if (server.port !== state.port) writePrivateState(dataDir, { ...state, port: server.port });
    const upstream = await prepareDemo(state, server.port, () => onProgress('filling the demo database'));
    return { upstream, database: demoDatabase, port: server.port, ended: server.ended, stop: () => server.stop() };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Where the embedded server of that folder was reached last, as the gateway's own role. Throws Failure `config_invalid` where there is none. */
export function embeddedUpstream(dataDir: string): Secret {
  const state = readPrivateState(dataDir);
  if (state !== undefined) return demoUpstream(state, state.port);
  throw new Failure('config_invalid', 'no database server is named, and there is no embedded one in the data folder', { hint: 'Give the same --upstream (or BACKSTOP_UPSTREAM) and --data as `backstop up`.' });
}

function stateFor(dataDir: string, isClusterThere: boolean): PrivateState {
  const found = readPrivateState(dataDir);
  if (found !== undefined) return found;
  if (isClusterThere) {
    throw new Failure('store_unavailable', `${join(dataDir, 'postgres.json')} is missing, and with it the passwords of the PostgreSQL beside it`, {
      hint: `Restore it from a copy, or remove ${join(dataDir, 'postgres')} to begin with a fresh demo database.`,
    });
  }
  const made = newPrivateState();
  writePrivateState(dataDir, made);
  return made;
}
