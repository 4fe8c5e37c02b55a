/**
 * Policy files: reads a shipped policy by its name, or any policy by its path, and hands the text to the parser in
 * core. Shipped policies lie in `policies/` beside `src/` in a checkout and beside `dist/` in the package. A name that
 * is not shipped is never looked for elsewhere, so nobody runs under a policy that they did not mean.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from '../core/failure.ts';
import { parsePolicy } from '../core/policy/policy.ts';
import type { Policy } from '../core/policy/policy.ts';
import { closest } from '../lib/closest.ts';
import { systemCode } from '../lib/system-error.ts';

const folder = new URL('../../policies/', import.meta.url);
const bytesMax = 1_000_000;

/** Throws Failure `policy_invalid`: no such policy, unreadable, or wrong at a line. */
export async function loadPolicy(nameOrPath: string): Promise<Policy> {
  const { text, shownAs } = await policyText(nameOrPath);
  return parsePolicy(text, shownAs);
}

/** Throws Failure `policy_invalid`: no such policy, or unreadable. */
export async function policyText(nameOrPath: string): Promise<{ readonly text: string; readonly shownAs: string }> {
  if (!isName(nameOrPath)) return { text: await readText(nameOrPath, nameOrPath), shownAs: nameOrPath };
  const shipped = await shippedPolicies();
  if (shipped.includes(nameOrPath)) return { text: await readText(policyPath(nameOrPath), `${nameOrPath}.yaml`), shownAs: `${nameOrPath}.yaml` };
  const guess = closest(nameOrPath, shipped);
  throw new Failure('policy_invalid', `there is no policy ${nameOrPath}; shipped are ${shipped.join(', ')}${guess === undefined ? '' : `. Did you mean ${guess}?`}`, {
    hint: 'Give one of these names, or a path that holds a slash or ends in .yaml.',
  });
}

export async function shippedPolicies(): Promise<readonly string[]> {
  const files = await readdir(folder);
  return files.filter((file) => file.endsWith('.yaml')).map((file) => basename(file, '.yaml')).sort();
}

/** Where the policy of that name, or at that path, lies. */
export function policyPath(nameOrPath: string): string {
  return isName(nameOrPath) ? fileURLToPath(new URL(`${nameOrPath}.yaml`, folder)) : nameOrPath;
}

function isName(nameOrPath: string): boolean { return /^[a-z][a-z0-9-]*$/.test(nameOrPath); }

async function readText(path: string, shownAs: string): Promise<string> {
  try {
    if ((await stat(path)).size <= bytesMax) return await readFile(path, 'utf8');
  } catch (cause) {
    const code = systemCode(cause);
    throw new Failure('policy_invalid', `${shownAs}: cannot be read (${code})`, { cause, hint: 'Check the path; a relative one starts at the current folder.' });
  }
  throw new Failure('policy_invalid', `${shownAs}: larger than ${bytesMax} bytes`);
}
