/**
 * Reads what `SHOW search_path` answers: a list of identifiers, quoted where they must be. "$user" stands for the role.
 * Pure; anything that is not such a list is null, which means: not known, and nothing unqualified is trusted.
 */
import { isCut, pathSchemasMax } from '../../core/sql/next-session.ts';

export function readSearchPath(shown: string, role: string): readonly string[] | null {
  const names: string[] = [];
  let rest = shown.trim();
  if (rest === '') return names;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^\s",]+))\s*(,\s*|$)/u.exec(rest);
    if (match === null) return null;
    // Unquoted, the server folds ASCII letters alone.
    const name = match[1]?.replaceAll('""', '"') ?? match[2]?.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()) ?? '';
    // It shows a longer name whole but looks for what is left of it once cut.
    if (isCut(name) || names.length === pathSchemasMax) return null;
    // SET search_path = '' leaves an empty name, which no schema can have.
    if (name !== '') names.push(name === '$user' ? role : name);
    rest = rest.slice(match[0].length);
    if (match[3] === '') return names;
    if (rest === '') return null;
  }
}
