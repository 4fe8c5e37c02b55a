/**
 * A session as it begins, and nextSession: as it stands once a statement has run, as far as its shape tells. What a transaction's end may
 * take back is forgotten rather than guessed: an unknown search_path trusts no unqualified name.
 */
import type { SessionChange, SessionFacts, Statement } from './statement.ts';

/** NAMEDATALEN: names are shorter than this. */
const nameBytesEnd = 64;
/** Every name is looked up in each schema of a path; nobody means so many. */
export const pathSchemasMax = 200;

/** A session in which nothing has run yet. */
export function beginSession(searchPath: readonly string[], role: string): SessionFacts {
  return { searchPath, role, temporary: new Set(), temporaryOpaque: new Set(), catalogChanged: false, prepared: new Map(), cursors: new Map() };
}

export function nextSession(session: SessionFacts, statement: Statement): SessionFacts {
  let next = session;
  for (const change of statement.changes) next = changed(next, change);
  if (statement.node === 'DropStmt') next = dropped(next, statement);
  next = attached(next, statement);
  const verb = statement.transaction?.verb;
  const mayRevert = verb === 'commit' || verb === 'rollback' || verb === 'rollback-to' || verb === 'prepare';
  return mayRevert && next.pathMayRevert !== false ? { ...next, searchPath: null } : next;
}

/** After code that nobody has read, nothing that code can change is known. */
export function afterOpaqueCode(session: SessionFacts): SessionFacts {
  return { ...session, searchPath: null, prepared: new Map(), cursors: new Map(), catalogChanged: true };
}

function changed(session: SessionFacts, change: SessionChange): SessionFacts {
  switch (change.kind) {
    case 'search-path': return { ...session, searchPath: pathOf(change.path, session), pathMayRevert: true };
    // "$user" in the path means another schema now.
    case 'role': return { ...session, role: '', searchPath: null, pathMayRevert: true };
    case 'setting': return session;
    case 'reset-all': return { ...session, searchPath: null, pathMayRevert: true };
    case 'temporary-relation': return withTemporary(session, change.name, change.opaque === true);
    case 'may-be-temporary': return session.temporary.size + session.temporaryOpaque.size === 0 ? session : withTemporary(session, change.name, true);
    case 'catalog': return { ...session, catalogChanged: true };
    case 'prepare': return { ...session, prepared: withEntry(session.prepared, change.name, change.body) };
    case 'deallocate': return { ...session, prepared: withoutEntry(session.prepared, change.name) };
    case 'declare': return { ...session, cursors: withEntry(session.cursors, change.name, change.body) };
    case 'close': return { ...session, cursors: withoutEntry(session.cursors, change.name) };
  }
}

function pathOf(path: readonly string[] | null, session: SessionFacts): readonly string[] | null {
  if (path === null || path.length > pathSchemasMax || path.some(isCut) || (session.role === '' && path.includes('$user'))) return null;
  return path.map((name) => (name === '$user' ? session.role : name));
}

/** The server cuts longer names in a path, so that another schema may be meant than the text says. */
export function isCut(name: string): boolean {
  return new TextEncoder().encode(name).length >= nameBytesEnd;
}

function withTemporary(session: SessionFacts, name: string, isOpaque: boolean): SessionFacts {
  // Where the user's types come before PostgreSQL's own, `text` may be one of them.
  const isPlain = !isOpaque && session.searchPath !== null && !session.searchPath.includes('pg_catalog') && !session.temporaryOpaque.has(name);
  return isPlain
    ? { ...session, temporary: new Set([...session.temporary, name]) }
    : { ...session, temporaryOpaque: new Set([...session.temporaryOpaque, name]) };
}

/** A dropped temporary table uncovers what it hid; it may also come back, so its name stays suspect, not plain. */
function dropped(session: SessionFacts, statement: Statement): SessionFacts {
  const names = new Set(statement.mentions.relations.filter(({ use, name }) => use === 'drop' && session.temporary.has(name)).map(({ name }) => name));
  return names.size === 0 ? session : { ...session, temporary: new Set([...session.temporary].filter((name) => !names.has(name))) };
}

const attaching: ReadonlySet<string> = new Set(['CreateTrigStmt', 'RuleStmt', 'CreatePolicyStmt', 'RenameStmt', 'AlterTableStmt']);

/** A rule, trigger, policy, default or index expression on a temporary table makes it run code. */
function attached(session: SessionFacts, { node, mentions }: Statement): SessionFacts {
  const isExpression = node === 'IndexStmt' && mentions.functions.length + mentions.operators.length + mentions.types.length > 0;
  if (!attaching.has(node) && !isExpression) return session;
  const names = mentions.relations.filter(({ use, name }) => use === 'alter' && session.temporary.has(name)).map(({ name }) => name);
  return names.length === 0 ? session : { ...session, temporaryOpaque: new Set([...session.temporaryOpaque, ...names]) };
}

function withEntry(map: ReadonlyMap<string, Statement>, name: string, statement: Statement): ReadonlyMap<string, Statement> {
  return new Map([...map, [name, statement]]);
}

function withoutEntry(map: ReadonlyMap<string, Statement>, name: string | null): ReadonlyMap<string, Statement> {
  return name === null ? new Map() : new Map([...map].filter(([key]) => key !== name));
}
