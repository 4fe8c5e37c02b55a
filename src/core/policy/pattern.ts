/**
 * Patterns of protected names: `payments`, `public.payments`, `audit_*`, `billing.*`. A pattern without a schema matches
 * the name in every schema. Matching leans towards protection: a name that came without its schema matches a pattern
 * that has one. Names are compared as PostgreSQL stores them, so `Orders` matches only a table created with quotes.
 */
const partsMax = 8;

/** `public."Odd.Name"` → ['public', 'Odd.Name']; a routine's argument list is left out. */
export function splitName(name: string): readonly string[] {
  const parts: string[] = [];
  for (const match of name.matchAll(/"((?:[^"]|"")*)"|([^".(]+)|\(.*$/gs)) {
    const part = match[1]?.replaceAll('""', '"') ?? match[2]?.trim();
    if (part !== undefined && parts.length < partsMax) parts.push(part);
  }
  return parts;
}

/** What an effect falls on, as far as the name and the kind of object tell. Missing parts are not known. */
export interface Place {
  readonly kind: 'relation' | 'schema' | 'database';
  readonly schema?: string | undefined;
  readonly name?: string | undefined;
}

export function placeOf(object: string | undefined, objectKind: string | undefined): Place {
  const parts = splitName(object ?? '');
  if (objectKind === 'database') return { kind: 'database' };
  if (objectKind === 'schema') return { kind: 'schema', schema: parts.at(-1) };
  // `schema.table.column`: what is protected is the table.
  const relation = objectKind === 'column' || objectKind === 'constraint' ? parts.slice(0, -1) : parts;
  return { kind: 'relation', schema: relation.at(-2), name: relation.at(-1) };
}

/** True when the place is, or may hold, a relation that the pattern protects. */
export function matchesRelation(pattern: string, place: Place): boolean {
  const [name, schema] = splitName(pattern).toReversed();
  const nameFits = place.name === undefined || name === undefined || matchesGlob(name, place.name);
  return nameFits && (schema === undefined || matchesSchema(schema, place));
}

/** True when the place lies in a schema that the pattern protects, or may lie in one. */
export function matchesSchema(pattern: string, place: Place): boolean {
  return place.schema === undefined || matchesGlob(splitName(pattern).at(-1) ?? '*', place.schema);
}

/** `*` stands for any run of characters; linear in the product of the lengths, never exponential. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === text;
  if (!text.startsWith(first)) return false;
  const last = rest.pop() ?? '';
  let from = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, from);
    if (found < 0) return false;
    from = found + piece.length;
  }
  return text.length - last.length >= from && text.endsWith(last);
}
