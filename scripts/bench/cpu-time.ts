/**
 * CPU time of a process with all its threads and descendants, from Linux's /proc. Where there is no /proc the answer is
 * undefined and the benchmark leaves the column empty.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, which Linux fixes at 100 for /proc on every common architecture. */
const ticksPerSecond = 100;

export function cpuMs(pid: number): number | undefined {
  const all = readProcesses();
  if (!all.has(pid)) return undefined;
  const ticks = [...familyIn(all, pid)].reduce((sum, member) => sum + (all.get(member)?.ticks ?? 0), 0);
  return (ticks * 1000) / ticksPerSecond;
}

/** The process and all its descendants. */
export function familyOf(pid: number): ReadonlySet<number> {
  return familyIn(readProcesses(), pid);
}

function familyIn(all: ReadonlyMap<number, { readonly parent: number }>, pid: number): ReadonlySet<number> {
  const family = new Set([pid]);
  for (let grown = true; grown;) {
    const before = family.size;
    for (const [child, { parent }] of all) if (family.has(parent)) family.add(child);
    grown = family.size > before;
  }
  return family;
}

/** One line of /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses, so it is skipped from the right. */
export function readStat(line: string): { readonly parent: number; readonly ticks: number } {
  const [, parent, ...rest] = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(parent), ticks: Number(rest[9]) + Number(rest[10]) };
}

function readProcesses(): ReadonlyMap<number, { readonly parent: number; readonly ticks: number }> {
  const found = new Map<number, { readonly parent: number; readonly ticks: number }>();
  for (const name of listProcesses()) {
    try {
      found.set(Number(name), readStat(readFileSync(`/proc/${name}/stat`, 'utf8')));
    } catch { /* it ended between the listing and the reading, so it used no more */ }
  }
  return found;
}

function listProcesses(): readonly string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}
