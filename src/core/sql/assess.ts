/**
 * assess: a text in, its risk out. Every statement is judged by its shape and by what its names reach, in the session as
 * the statements before it leave it, and the worst speaks for the whole. Pure, and it never throws for any text: what
 * cannot be read is CRITICAL, and nothing is SAFE that was not shown to be.
 */
import type { Effect, Risk } from '../risk.ts';
import { isAtLeast, joinAll, joinRisks, nothing } from '../risk.ts';
import type { ParsedStatement, Parser } from '../../lib/pgsql/parser.ts';
import type { Catalog } from './catalog.ts';
import { distinct, nameCount, type Mentions } from './mentions.ts';
import { withFollowedSetting } from './followed-setting.ts';
import { afterOpaqueCode, nextSession } from './next-session.ts';
import { effect, risk } from './own-reading.ts';
import { reach, reachDdl, reachDropped } from './reach.ts';
import type { ReadNested } from './reach.ts';
import { columnKey, openScope } from './reach-scope.ts';
import { anyUnsafeType } from './reach-type.ts';
import { missingNames } from './missing-names.ts';
import { readStatement } from './read-statement.ts';
import type { SessionChange, SessionFacts, Statement } from './statement.ts';
import { liftingRisks } from './time-limits.ts';

export { nextSession } from './next-session.ts';

export interface AssessedStatement {
  readonly statement: Statement;
  readonly risk: Risk;
}

export interface Assessment {
  /** The worst of all statements. */
  readonly risk: Risk;
  readonly statements: readonly AssessedStatement[];
  /** Why the text could not be read; then there are no statements. */
  readonly error?: string;
}

export function assess(sql: string, session: SessionFacts, catalog: Catalog, parser: Parser): Assessment {
  const parsed = parser.parse(sql);
  if (parsed.kind === 'unparsable') {
    const place = parsed.position === undefined ? '' : ` at character ${parsed.position}`;
    return { risk: unparsable, statements: [], error: `${parsed.message}${place}` };
  }
  const read = parsed.statements.map((one) => withFollowedSetting(withDistinctNames(readStatement(one)), one.tree));
  const excess = tooMuch(read);
  if (excess !== undefined) return { risk: unparsable, statements: [], error: excess };
  const statements: AssessedStatement[] = [];
  let now = session;
  let isWatched = true;
  for (const statement of read) {
    const own = assessStatement(statement, now, catalog, parser);
    const judged = isWatched ? own : joinRisks(own, afterUnread);
    statements.push({ statement, risk: judged });
    now = nextSession(now, statement);
    if (runsUnreadCode(statement, own)) {
      now = afterOpaqueCode(now);
      isWatched = false;
    }
  }
  return { risk: withoutRepeats(joinAll(statements.map((one) => one.risk))), statements };
}

function withDistinctNames(statement: Statement): Statement {
  return { ...statement, mentions: distinct(statement.mentions) };
}

/** Judging takes its time for each name, and so does everything that happens meanwhile. */
const namesMax = 30_000;
/** Each is added to a copy of what the session has. */
const sessionNamesMax = 1_000;
const naming: ReadonlySet<SessionChange['kind']> = new Set(['prepare', 'deallocate', 'declare', 'close', 'temporary-relation']);

function tooMuch(statements: readonly Statement[]): string | undefined {
  const names = statements.reduce((sum, { mentions }) => sum + 1 + nameCount(mentions), 0);
  if (names > namesMax) return `more than ${namesMax} statements and names in one text`;
  const made = statements.reduce((sum, { changes }) => sum + changes.filter(({ kind }) => naming.has(kind)).length, 0);
  return made > sessionNamesMax ? `more than ${sessionNamesMax} prepared statements, cursors and temporary tables in one text` : undefined;
}

const unparsable: Risk = risk('CRITICAL', 'statement.unparsable', 'It cannot be read with the grammar of this PostgreSQL version.', [{ kind: 'unknown' }], 'none');

/** Whatever comes after unread code runs in a session that nobody knows. */
const afterUnread: Risk = risk('HIGH', 'session.unknown', 'Code that could not be read runs before it and may have changed what its names mean.', [{ kind: 'unknown' }]);

function runsUnreadCode(statement: Statement, own: Risk): boolean {
  if (statement.node === 'DoStmt' || statement.node === 'CallStmt') return true;
  return isAtLeast(own.level, 'HIGH') && own.effects.some(({ kind, objectKind }) => kind === 'unknown' || kind === 'call' || (kind === 'session' && objectKind === 'setting' && statement.node !== 'VariableSetStmt'));
}

/**
 * Parsing alone makes values of literals beside or cast to user types, which runs the input and the checks of those that
 * are composite, ranges or arrays. True when any type there is could run what is not proved harmless.
 */
export function mayRunWhenParsed(session: SessionFacts, catalog: Catalog, parser: Parser): boolean {
  return session.catalogChanged || anyUnsafeType(openScope(session, catalog, nestedReader(parser)));
}

/** The risk of one statement, for instance when a registered one is executed. */
export function assessStatement(statement: Statement, session: SessionFacts, catalog: Catalog, parser: Parser): Risk {
  return joinRisks(missingNames(statement, session, catalog), riskOf(statement, session, catalog, parser));
}

function riskOf(statement: Statement, given: SessionFacts, catalog: Catalog, parser: Parser): Risk {
  const read = nestedReader(parser);
  const session = trusted(given, catalog);
  const own = ownRisk(statement, session, catalog, read);
  const reached = reach(statement.mentions, session, catalog, read);
  const parts = [
    own, reached, plannedRisk(statement, session, catalog, read), namedRisk(statement, session, catalog, parser), blockRisk(statement, session, catalog, parser),
  ];
  parts.push(...liftingRisks(statement.changes, session.timeLimits));
  if (isDdl(statement)) parts.push(reachDdl(session, catalog, read), reachDropped(statement, session, catalog, read));
  return withoutUnqualified(withoutRepeats(joinAll(parts)));
}

/** Offline nobody knows what a schema holds that stands before PostgreSQL's own in the path (H29). */
function trusted(session: SessionFacts, catalog: Catalog): SessionFacts {
  const isHidden = catalog.mode === 'offline' && session.searchPath !== null && session.searchPath.indexOf('pg_catalog') > 0;
  return isHidden ? { ...session, searchPath: null } : session;
}

/** EXECUTE, FETCH and MOVE are what they run; PREPARE and DECLARE are at least LOW and as bad as what they name. */
function namedRisk({ runs, changes }: Statement, session: SessionFacts, catalog: Catalog, parser: Parser): Risk {
  const bodies = changes.flatMap((change) => (change.kind === 'prepare' || change.kind === 'declare' ? [change.body] : []));
  const named = joinAll(bodies.map((body) => riskOf(body, session, catalog, parser)));
  if (runs === undefined) return named;
  const body = (runs.kind === 'prepared' ? session.prepared : session.cursors).get(runs.name);
  if (body === undefined) return unknownName(runs.kind, runs.name);
  // A prepared EXPLAIN or CREATE TABLE AS could run another; the grammar allows none that leads back to itself.
  if (body.runs !== undefined || changesSession(body)) return unknownName(runs.kind, runs.name);
  return joinRisks(named, riskOf(body, session, catalog, parser));
}

/** The wire protocol can prepare any statement, and EXECUTE runs it without its text in sight. */
function changesSession({ changes, transaction, copy }: Statement): boolean {
  return changes.length > 0 || transaction !== undefined || copy !== undefined;
}

function unknownName(kind: 'prepared' | 'cursor', name: string): Risk {
  return kind === 'prepared'
    ? risk('HIGH', 'prepared.unknown', 'It runs a prepared statement that was not seen being prepared.', [effect('unknown', 'prepared statement', name)], 'none')
    : risk('HIGH', 'cursor.unknown', 'It reads from a cursor that was not seen being opened.', [effect('unknown', 'cursor', name)], 'none');
}

/** What can be seen in a DO block adds to what cannot; its level is never milder for it. */
function blockRisk({ block }: Statement, session: SessionFacts, catalog: Catalog, parser: Parser): Risk {
  if (block === undefined) return nothing;
  const read = nestedReader(parser);
  const statements = read(`CREATE FUNCTION block() RETURNS void LANGUAGE plpgsql AS '${block.replaceAll("'", "''")}'`, 'plpgsql') ?? [];
  return joinAll(statements.filter((one) => one.block === undefined).map((one) => riskOf(one, session, catalog, parser)));
}

/** Plain EXPLAIN writes nothing, but planning a write may run functions behind defaults, rules and policies. */
function plannedRisk({ planned }: Statement, session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  if (planned === undefined) return nothing;
  const whole = reach(planned, session, catalog, read);
  const runsCode = whole.effects.some(({ kind }) => kind === 'unknown' || kind === 'call' || kind === 'program' || kind === 'network');
  return runsCode ? whole : nothing;
}

/** What the shape says, milder where everything it writes belongs to this session alone. */
function ownRisk(statement: Statement, session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  const { own, ifTemporary } = statement;
  if (ifTemporary === undefined || session.searchPath === null || session.catalogChanged) return own;
  const areTemporary = ifTemporary.names.every((name) => session.temporary.has(name) && !session.temporaryOpaque.has(name)
    && catalog.relationsAnywhere(name).length === 0);
  return areTemporary && areDomainsHarmless(session, catalog, read) ? ifTemporary.own : own;
}

/** A temporary table made of a query has the column types of that query; a domain among them checks every write. */
function areDomainsHarmless(session: SessionFacts, catalog: Catalog, read: ReadNested): boolean {
  const types = catalog.facts.types.filter((type) => type.kind === 'domain' && type.builtin !== true);
  if (types.length === 0) return true;
  const mentions: Mentions = { relations: [], functions: [], operators: [], attributes: [], ctes: [], types: types.map(({ schema, name }) => ({ schema, name })) };
  return !isAtLeast(reach(mentions, session, catalog, read).level, 'LOW');
}

const ddlNodes = /^(Create|Alter|Drop|Define|Comment|Grant|Index|View|Rule|Rename|SecLabel|Reassign|Import|Refresh|CompositeType|Define)/;

function isDdl({ node, changes }: Statement): boolean {
  return ddlNodes.test(node) || changes.some(({ kind }) => kind === 'catalog' || kind === 'temporary-relation');
}

function nestedReader(parser: Parser): ReadNested {
  const statementsOf = (sql: string): readonly Statement[] | null => {
    const parsed = parser.parse(sql);
    return parsed.kind === 'parsed' ? parsed.statements.map((one: ParsedStatement) => readStatement(one)) : null;
  };
  return (sql, kind) => {
    if (kind === 'statement') return statementsOf(sql);
    if (kind === 'expression') return statementsOf(`SELECT ${sql}`);
    const texts = parser.readPlpgsql(sql);
    if (texts === null) return null;
    const read = texts.map(statementsOf);
    return read.includes(null) ? null : read.flatMap((statements) => statements ?? []);
  };
}

/** The shape names an object as written; where the catalog says which one it is, that says it all. */
function withoutUnqualified(all: Risk): Risk {
  const qualified = new Set(all.effects.flatMap((one) => (one.object?.includes('.') === true ? [keyOfName(one, one.object.slice(one.object.lastIndexOf('.') + 1))] : [])));
  const effects = all.effects.filter((one) => one.object === undefined || one.object.includes('.') || one.detail !== undefined || !qualified.has(keyOfName(one, one.object)));
  return effects.length === all.effects.length ? all : { ...all, effects };
}

function keyOfName({ kind, objectKind, via }: Effect, name: string): string {
  return [kind, objectKind, name, via?.join()].join('|');
}

function withoutRepeats(all: Risk): Risk {
  return {
    ...all,
    reasons: unique(all.reasons, ({ rule, message }) => `${rule}|${message}`),
    effects: unique(all.effects, (one) => [one.kind, one.objectKind, one.object, one.detail, columnKey(one), one.via?.join('>')].join('|')),
    assumptions: unique(all.assumptions, (text) => text),
  };
}

function unique<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  return items.length < 2 ? items : [...new Map(items.map((item) => [key(item), item])).values()];
}
