/**
 * Documents that must stay true: docs/capabilities.md names tests that exist, and package.json pins what it depends on.
 */
import { matchesIn } from './source.ts';
import type { Violation } from './source.ts';

export interface CapabilityRow {
  readonly line: number;
  readonly promise: string;
  readonly shownBy: string;
}

export function capabilityRows(markdown: string): readonly CapabilityRow[] {
  return markdown.split('\n').flatMap((text, index): CapabilityRow[] => {
    const cells = text.split(/(?<!\\)\|/).map((cell) => cell.trim());
    const [before, promise = '', shownBy = '', after] = cells;
    const isRow = cells.length === 4 && before === '' && after === '' && !/^:?-+:?$/.test(promise) && promise !== 'promise';
    return isRow ? [{ line: index + 1, promise, shownBy }] : [];
  });
}

/** `read` gives the text of a file of the repository, or undefined when there is none. */
export function capabilityViolations(path: string, markdown: string, read: (path: string) => string | undefined): Violation[] {
  return capabilityRows(markdown).flatMap(({ line, promise, shownBy }): Violation[] => {
    const problem = promise === '' ? 'a row without a promise' : shownProblem(shownBy, read);
    return problem === undefined ? [] : [{ path, line, what: problem }];
  });
}

function shownProblem(shownBy: string, read: (path: string) => string | undefined): string | undefined {
  if (shownBy === 'planned') return undefined;
  const [, file = '', name] = /^`?([^\s`:]+)`?(?::\s*(.+))?$/.exec(shownBy) ?? [];
  const text = file === '' ? undefined : read(file);
  if (text === undefined) return `"${shownBy}" is neither planned nor a file, optionally with ": test name"`;
  if (!/(\.test\.ts|\.bench\.ts|\.sh|\/run)$|^scripts\/bench/.test(file)) return `${file} is not a test or a benchmark`;
  const wanted = name?.replaceAll(/^[`"']|[`"']$/g, '').replaceAll('\\|', '|');
  return wanted === undefined || text.includes(wanted) ? undefined : `${file} has no test named "${wanted}"`;
}

const exact = /^(?:npm:(?:@[\w.-]+\/)?[\w.-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/;

export function dependencyViolations(path: string, text: string): Violation[] {
  const manifest = JSON.parse(text) as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'];
  return kinds.flatMap((kind) => Object.entries(manifest[kind] ?? {})).flatMap(([name, version]) =>
    (exact.test(version) ? [] : matchesIn(path, text, new RegExp(`"${name}"\\s*:\\s*"`, 'g'), () => `${name}: "${version}" is not an exact version`)));
}
