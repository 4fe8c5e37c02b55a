/**
 * Idle connections: how much a relay's resident memory grows for each client that has logged in and says nothing, and
 * whether it still answers while they are there.
 */
import type { Link } from '../../src/remote/postgres/link.ts';
import { setTimeout as pause } from 'node:timers/promises';
import { linkTo } from './bulk.ts';
import { memoryOf } from './memory.ts';
import type { Relay } from './relays.ts';

export interface Idle {
  readonly relay: Relay['name'];
  readonly connections: number;
  readonly kbPerConnection: number | undefined;
  readonly peakKb: number | undefined;
  readonly secondsToConnect: number;
}

const atOnceMax = 16;
/** What logging in left behind is collected by then. */
const settleMs = 5_000;
const warmUpConnections = 100;

export async function measureIdle(relay: Relay, connections: number): Promise<Idle> {
  const warm = await open(relay, warmUpConnections);
  await close(warm);
  await pause(settleMs);
  const before = relay.pid === undefined ? undefined : memoryOf(relay.pid);
  const started = performance.now();
  const links = await open(relay, connections);
  try {
    const secondsToConnect = (performance.now() - started) / 1000;
    await pause(settleMs);
    const after = relay.pid === undefined ? undefined : memoryOf(relay.pid);
    await links[0]?.query('SELECT 1');
    const kbPerConnection = before === undefined || after === undefined ? undefined : (after.residentKb - before.residentKb) / connections;
    return { relay: relay.name, connections, kbPerConnection, peakKb: after?.peakKb, secondsToConnect };
  } finally {
    await close(links);
  }
}

async function open(relay: Relay, connections: number): Promise<readonly Link[]> {
  const links: Link[] = [];
  let left = connections;
  await Promise.all(Array.from({ length: atOnceMax }, async () => {
    while (left-- > 0) links.push(await linkTo(relay.address));
  }));
  return links;
}

async function close(links: readonly Link[]): Promise<void> {
  await Promise.all(links.map((link) => link.end()));
}
