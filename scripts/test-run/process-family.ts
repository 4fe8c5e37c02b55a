/**
 * The processes that one process has started, and how to end them all: those of the group that it leads, and those that
 * descend from it in groups of their own, as a server does that must not hear a terminal's Ctrl-C. They are asked first,
 * because one that is asked removes its files, and ended when they do not.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

interface Entry { readonly pid: number; readonly parent: number; readonly group: number }

const graceMs = 3_000;
const askAgainMs = 20;

/** Resolves to whether there were any. The leader may be gone already; then only its group is found. */
export async function endFamily(leader: number): Promise<boolean> {
  const family = familyOf(leader);
  if (!family.some(isAlive)) return false;
  for (const pid of family) send(pid, 'SIGTERM');
  for (const deadline = performance.now() + graceMs; family.some(isAlive) && performance.now() < deadline;) await pause(askAgainMs);
  for (const pid of family.filter(isAlive)) send(pid, 'SIGKILL');
  return true;
}

/** Where there is no /proc, the group as a whole. */
function familyOf(leader: number): readonly number[] {
  if (!existsSync('/proc/self/stat')) return [-leader];
  const entries = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => entryOf(Number(name)) ?? []);
  const members = new Set(entries.filter(({ pid, group }) => pid === leader || group === leader).map(({ pid }) => pid));
  for (let before = -1; before !== members.size;) {
    before = members.size;
    for (const { pid, parent } of entries) if (members.has(parent)) members.add(pid);
  }
  return [...members];
}

/** Nothing for one that is gone or that only waits to be reaped. The program's name, which comes second, may hold anything. */
function entryOf(pid: number): Entry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : { pid, parent: Number(parent), group: Number(group) };
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean { return pid < 0 ? send(pid, 0) : entryOf(pid) !== undefined; }

/** False when there is nobody to get it. */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
