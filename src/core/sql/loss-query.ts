/**
 * Which objects a DROP, TRUNCATE or their like names, as questions to the server: it alone knows all that depends on them,
 * so nothing is followed here. Names are given as the server's own pg_get_object_address takes them, and resolved by it in
 * the session's search path. What another connection would see with other eyes is unknown, with the reason.
 */
import type { Risk } from '../risk.ts';
import { losesRows } from './changes-rows.ts';
import type { SessionFacts, Statement } from './statement.ts';
import { flagIn, namesIn, namesOf, nodesIn, rangeVarNames, stringIn, treeIn, type Node, type Tree } from './tree.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';

export interface LossQuery {
  readonly kind: 'loss';
  readonly verb: 'drop' | 'truncate';
  readonly cascade: boolean;
  /** TRUNCATE … RESTART IDENTITY. */
  readonly restarts: boolean;
  readonly targets: readonly LossTarget[];
  /** False: no table can be among what it takes along, so limits need no number. */
  readonly losesRows: boolean;
}

export type LossTarget =
  /** As for pg_get_object_address; `arguments` are types as text. */
  | { readonly kind: 'object'; readonly type: string; readonly name: readonly string[]; readonly arguments: readonly string[] }
  /** A function or procedure without its arguments: `"public"."f"`. */
  | { readonly kind: 'routine'; readonly name: string }
  /** To be emptied; with `isAlone` (ONLY) without partitions and children. */
  | { readonly kind: 'emptied'; readonly name: string; readonly isAlone: boolean }
  /** All that a role owns in this database, or the role itself; null: the role of the session. */
  | { readonly kind: 'owned' | 'role'; readonly name: string | null };

export interface LossInput {
  readonly statements: readonly Statement[];
  readonly risk: Risk;
  readonly session: SessionFacts;
  readonly parser: Parser;
  readonly written: ReadonlySet<string> | undefined;
}

type Unknown = { readonly kind: 'unknown'; readonly reason: string };

export interface LossReading { readonly verb: 'drop' | 'truncate'; readonly cascade: boolean; readonly restarts?: boolean; readonly targets: readonly LossTarget[] }

/** The statements that name what they take away. */
export function isLossStatement({ node, own }: Statement): boolean {
  return Object.hasOwn(readers, node) && own.effects.some(({ kind }) => kind === 'drop' || kind === 'truncate');
}

export function lossPlan({ statements, risk, session, parser, written }: LossInput): LossQuery | Unknown | { readonly kind: 'none' } {
  const isRowLoss = risk.effects.some(losesRows);
  const unknown = (reason: string): Unknown | { readonly kind: 'none' } => (isRowLoss ? { kind: 'unknown', reason } : { kind: 'none' });
  const others = statements.filter((one) => !isLossStatement(one));
  if (others.some(({ own, transaction }) => own.level !== 'SAFE' && transaction === undefined)) return unknown('another statement of it writes or changes the session, and may change what it finds');
  if (session.catalogChanged) return unknown('its transaction has changed the schema, which nobody else can see yet');
  if (session.searchPath === null) return unknown('the search path of its session is not known');
  const found = statements.filter(isLossStatement).map((one) => readLoss(one, parser));
  const readings = found.filter((one) => one !== undefined);
  const [first] = readings;
  if (first === undefined || readings.length < found.length) return unknown('what it names cannot be looked up from here');
  if (readings.some(({ verb }) => verb !== first.verb)) return unknown('it both drops and empties');
  const cascade = readings.some((one) => one.cascade);
  const names = statements.flatMap(({ mentions }) => mentions.relations.flatMap(({ name, schema }) => (schema === undefined ? [name] : [])));
  if (names.some((name) => session.temporary.has(name) || session.temporaryOpaque.has(name))) return unknown('it uses a temporary table, which nobody else can see');
  // A cascade may reach any table that the transaction has written.
  if (written === undefined || (cascade && written.size > 0) || risk.effects.some(({ object }) => object !== undefined && written.has(object))) {
    return unknown('its transaction has written tables that it may take away, which nobody else can see yet');
  }
  return { kind: 'loss', verb: first.verb, cascade, restarts: readings.some(({ restarts }) => restarts === true), targets: readings.flatMap(({ targets }) => targets), losesRows: isRowLoss };
}

/** What one such statement names; undefined: it cannot be looked up. */
export function readLoss(statement: Pick<Statement, 'text' | 'node'>, parser: Parser): LossReading | undefined {
  const parsed = parser.parse(statement.text);
  const own = parsed.kind === 'parsed' && parsed.statements.length === 1 ? parsed.statements[0] : undefined;
  return own === undefined || own.node !== statement.node ? undefined : readers[own.node]?.(own.tree);
}

/** undefined: it cannot be looked up. */
const readers: Readonly<Record<string, (tree: Tree) => LossReading | undefined>> = {
  TruncateStmt: (tree) => ({
    verb: 'truncate', cascade: isCascade(tree), restarts: flagIn(tree, 'restart_seqs'),
    targets: nodesIn(tree, 'relations').map((one) => ({ kind: 'emptied', name: quotedName(rangeVarNames(one.tree)), isAlone: !flagIn(one.tree, 'inh') })),
  }),
  DropStmt: (tree) => {
    const targets = nodesIn(tree, 'objects').map((one) => droppedTarget(stringIn(tree, 'removeType') ?? '', one));
    const known = targets.filter((one) => one !== undefined);
    return known.length < targets.length ? undefined : { verb: 'drop', cascade: isCascade(tree), targets: known };
  },
  AlterTableStmt: (tree) => {
    const relation = rangeVarNames(treeIn(tree, 'relation') ?? {});
    const commands = nodesIn(tree, 'cmds').map((one) => one.tree);
    const targets = commands.flatMap((one): LossTarget[] => {
      const type = partTypes[stringIn(one, 'subtype') ?? ''];
      return type === undefined ? [] : [{ kind: 'object', type, name: [...relation, stringIn(one, 'name') ?? ''], arguments: [] }];
    });
    return stringIn(tree, 'objtype') === 'OBJECT_TABLE' ? { verb: 'drop', cascade: commands.some(isCascade), targets } : undefined;
  },
  DropOwnedStmt: (tree) => ({ verb: 'drop', cascade: isCascade(tree), targets: nodesIn(tree, 'roles').map((one) => ({ kind: 'owned', name: roleName(one) })) }),
  DropRoleStmt: (tree) => ({ verb: 'drop', cascade: false, targets: nodesIn(tree, 'roles').map((one) => ({ kind: 'role', name: roleName(one) })) }),
  // What another database holds can be seen only from there.
  DropdbStmt: () => undefined,
};

const partTypes: Readonly<Record<string, string>> = { AT_DropColumn: 'table column', AT_DropConstraint: 'table constraint' };

function isCascade(tree: Tree): boolean { return stringIn(tree, 'behavior') === 'DROP_CASCADE'; }

function roleName({ tree }: Node): string | null {
  return stringIn(tree, 'roletype') === 'ROLESPEC_CSTRING' ? stringIn(tree, 'rolename') ?? null : null;
}

/** As pg_get_object_address calls the kinds of objects that DROP takes. */
const objectTypes: Readonly<Record<string, string>> = {
  OBJECT_ACCESS_METHOD: 'access method', OBJECT_AGGREGATE: 'aggregate', OBJECT_CAST: 'cast', OBJECT_COLLATION: 'collation', OBJECT_CONVERSION: 'conversion',
  OBJECT_DOMAIN: 'type', OBJECT_EVENT_TRIGGER: 'event trigger', OBJECT_EXTENSION: 'extension', OBJECT_FDW: 'foreign-data wrapper', OBJECT_FOREIGN_SERVER: 'server',
  OBJECT_FOREIGN_TABLE: 'foreign table', OBJECT_FUNCTION: 'function', OBJECT_INDEX: 'index', OBJECT_LANGUAGE: 'language', OBJECT_MATVIEW: 'materialized view',
  OBJECT_OPCLASS: 'operator class', OBJECT_OPERATOR: 'operator', OBJECT_OPFAMILY: 'operator family', OBJECT_POLICY: 'policy', OBJECT_PROCEDURE: 'procedure',
  OBJECT_PUBLICATION: 'publication', OBJECT_RULE: 'rule', OBJECT_SCHEMA: 'schema', OBJECT_SEQUENCE: 'sequence', OBJECT_STATISTIC_EXT: 'statistics object',
  OBJECT_TABLE: 'table', OBJECT_TRANSFORM: 'transform', OBJECT_TRIGGER: 'trigger', OBJECT_TSCONFIGURATION: 'text search configuration',
  OBJECT_TSDICTIONARY: 'text search dictionary', OBJECT_TSPARSER: 'text search parser', OBJECT_TSTEMPLATE: 'text search template', OBJECT_TYPE: 'type', OBJECT_VIEW: 'view',
};
const routines: ReadonlySet<string> = new Set(['OBJECT_FUNCTION', 'OBJECT_PROCEDURE', 'OBJECT_ROUTINE', 'OBJECT_AGGREGATE']);

function droppedTarget(removeType: string, node: Node): LossTarget | undefined {
  const type = objectTypes[removeType] ?? (removeType === 'OBJECT_ROUTINE' ? 'function' : undefined);
  if (type === undefined) return undefined;
  if (node.type === 'ObjectWithArgs') {
    const name = namesIn(node.tree, 'objname');
    if (flagIn(node.tree, 'args_unspecified')) return routines.has(removeType) ? { kind: 'routine', name: quotedName(name) } : undefined;
    // PROCEDURE and ROUTINE may be followed by arguments that their names alone do not tell apart.
    const given = typeTexts(node.tree['objargs']);
    return given === undefined || removeType === 'OBJECT_ROUTINE' ? undefined : { kind: 'object', type, name, arguments: given };
  }
  if (type === 'type') {
    const name = typeText(node);
    return name === undefined ? undefined : { kind: 'object', type, name: [name], arguments: [] };
  }
  if (type === 'cast') {
    const [source, target] = nodesIn(node.tree, 'items').map(typeText);
    return source === undefined || target === undefined ? undefined : { kind: 'object', type, name: [source], arguments: [target] };
  }
  return type === 'transform' ? undefined : { kind: 'object', type, name: namesOf(node), arguments: [] };
}

/** A missing side of an operator is an empty node. */
function typeTexts(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  const nodes = Array.isArray(value) ? value : [];
  const texts = nodes.map((_one, index) => {
    const [node] = nodesIn({ one: [nodes[index] as unknown] }, 'one');
    return node === undefined ? 'NONE' : typeText(node);
  });
  const known = texts.filter((text) => text !== undefined);
  return known.length < texts.length ? undefined : known;
}

function typeText({ type, tree }: Node): string | undefined {
  if (type !== 'TypeName' || flagIn(tree, 'pct_type') || flagIn(tree, 'setof')) return undefined;
  return `${quotedName(namesIn(tree, 'names'))}${nodesIn(tree, 'arrayBounds').length > 0 ? '[]' : ''}`;
}

function quotedName(names: readonly string[]): string {
  return names.map((name) => `"${name.replaceAll('"', '""')}"`).join('.');
}
