/**
 * How several parts become one thing that runs: each part that has started says how to stop it, all of them start or
 * none stays, and they are stopped in the reverse order.
 */
import type { Log } from '../lib/log.ts';

/** How to stop what has started, the first part first. */
export type Started = (() => Promise<void>)[];

/** All parts or none: when one fails to start, those before it are stopped again. */
export async function startWhole<Parts extends object>(log: Log, start: (started: Started) => Promise<Parts>): Promise<Parts & { stop(): Promise<void> }> {
  const started: Started = [];
  try {
    return { ...await start(started), stop: () => stopAll(started) };
  } catch (error) {
    await stopAll(started).catch((second: unknown) => { log.error({ error: second }, 'a part could not be stopped'); });
    throw error;
  }
}

/** Every part is stopped, whatever becomes of the others; the first error is thrown at the end. */
export async function stopAll(started: Started): Promise<void> {
  const errors: unknown[] = [];
  for (let last = started.pop(); last !== undefined; last = started.pop()) {
    await last().catch((error: unknown) => { errors.push(error); });
  }
  if (errors.length > 0) throw errors[0];
}
