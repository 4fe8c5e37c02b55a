/**
 * Resident memory of a process with all its descendants, now and at its peak, from Linux's /proc. Where there is no
 * /proc the answer is undefined and the benchmark leaves the column empty.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { familyOf } from './cpu-time.ts';

export interface Memory { readonly residentKb: number; readonly peakKb: number }

export function memoryOf(pid: number): Memory | undefined {
  const members = [...familyOf(pid)].flatMap((member) => readMemory(member) ?? []);
  if (members.length === 0) return undefined;
  return members.reduce((sum, one) => ({ residentKb: sum.residentKb + one.residentKb, peakKb: sum.peakKb + one.peakKb }));
}

/** From here on the peak is of what follows. Where the kernel does not allow it, the peak stays that of the process's life. */
export function forgetPeak(pid: number): void {
  for (const member of familyOf(pid)) {
    try {
      writeFileSync(`/proc/${member}/clear_refs`, '5');
    } catch { /* it has ended, or its peak is kept: then it can only be reported too high */ }
  }
}

/** The text of /proc/PID/status. */
export function readStatus(text: string): Memory | undefined {
  const kb = (name: string): number | undefined => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const [residentKb, peakKb] = [kb('VmRSS'), kb('VmHWM')];
  return residentKb === undefined || peakKb === undefined ? undefined : { residentKb, peakKb };
}

function readMemory(pid: number): Memory | undefined {
  try {
    return readStatus(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return undefined;
  }
}
