/**
 * Rows of the statement table: what makes, changes and drops the objects of a schema. Every such statement is at least
 * HIGH, except for what only touches temporary objects of the session; what loses data or takes others along is CRITICAL.
 */
import type { EffectKind, Level, Recoverability, Risk } from '../risk.ts';
import { joinAll, joinRisks } from '../risk.ts';
import { alterTable } from './alter-table.ts';
import type { FunctionMention } from './mentions.ts';
import { objectKind, relationKinds } from './object-kinds.ts';
import { droppedBeyond, effect, isCreatedTemporary, mentionNamed, nameOf, risk, temporaryWrite, useOf } from './own-reading.ts';
import type { OwnReading, RowContext, StatementRow } from './own-reading.ts';
import { qualified } from './expressions.ts';
import type { SessionChange } from './statement.ts';
import { flagIn, namesIn, namesOf, nodeIn, nodesIn, rangeVarNames, stringIn, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

export const schemaRows: Readonly<Record<string, StatementRow>> = {
  CreateStmt: createTable,
  IndexStmt: createIndex,
  ViewStmt: createView,
  CreateSeqStmt: (tree) => created(tree, 'sequence', 'sequence'),
  CompositeTypeStmt: (tree) => ({ ...createdType('type', rangeVarNames(treeIn(tree, 'typevar') ?? {})), uses: useOf(treeIn(tree, 'typevar')) }),
  CreateEnumStmt: (tree) => createdType('type', namesIn(tree, 'typeName')),
  CreateRangeStmt: (tree) => createdType('type', namesIn(tree, 'typeName')),
  CreateDomainStmt: (tree) => createdType('domain', namesIn(tree, 'domainname')),
  DefineStmt: (tree) => createdType(objectKind(stringIn(tree, 'kind')).word, namesIn(tree, 'defnames')),
  CreateCastStmt: () => ddl('HIGH', 'create', 'cast'),
  CreateConversionStmt: (tree) => ddl('HIGH', 'create', 'conversion', namesIn(tree, 'conversion_name')),
  CreateOpClassStmt: (tree) => ddl('HIGH', 'create', 'operator class', namesIn(tree, 'opclassname')),
  CreateOpFamilyStmt: (tree) => ddl('HIGH', 'create', 'operator family', namesIn(tree, 'opfamilyname')),
  AlterOpFamilyStmt: (tree) => ddl('HIGH', 'alter', 'operator family', namesIn(tree, 'opfamilyname')),
  CreateStatsStmt: (tree) => ddl('HIGH', 'create', 'statistics object', namesIn(tree, 'defnames')),
  CreateSchemaStmt: (tree) => ddl('HIGH', 'create', 'schema', [stringIn(tree, 'schemaname') ?? '']),
  CreateFunctionStmt: createFunction,
  CreateTrigStmt: (tree) => ({
    ...ddl('HIGH', 'create', 'trigger', `${nameOf(treeIn(tree, 'relation'))}.${stringIn(tree, 'trigname') ?? ''}`), inner: 'stored',
    uses: useOf(treeIn(tree, 'relation'), 'alter'), functions: [reference(namesIn(tree, 'funcname'))],
  }),
  RuleStmt: (tree) => ({
    ...ddl('HIGH', 'create', 'rule', `${nameOf(treeIn(tree, 'relation'))}.${stringIn(tree, 'rulename') ?? ''}`), inner: 'stored',
    uses: useOf(treeIn(tree, 'relation'), 'alter'),
  }),
  CreatePolicyStmt: (tree) => policy(tree, 'create'),
  AlterPolicyStmt: (tree) => policy(tree, 'alter'),
  AlterTableStmt: alterTable,
  AlterSeqStmt: (tree) => alteringRelation(tree, 'sequence', 'sequence'),
  AlterFunctionStmt: (tree) => ({ ...ddl('HIGH', 'alter', 'function', namesIn(treeIn(tree, 'func') ?? {}, 'objname')), inner: 'stored' }),
  AlterDomainStmt: (tree) => ddl('HIGH', 'alter', 'domain', namesIn(tree, 'typeName')),
  AlterEnumStmt: (tree) => ddl('HIGH', 'alter', 'type', namesIn(tree, 'typeName')),
  AlterTypeStmt: (tree) => ddl('HIGH', 'alter', 'type', namesIn(tree, 'typeName')),
  AlterCollationStmt: (tree) => ddl('HIGH', 'alter', 'collation', namesIn(tree, 'collname')),
  AlterOperatorStmt: (tree) => ddl('HIGH', 'alter', 'operator', namesIn(treeIn(tree, 'opername') ?? {}, 'objname')),
  AlterStatsStmt: (tree) => ddl('HIGH', 'alter', 'statistics object', namesIn(tree, 'defnames')),
  AlterTSDictionaryStmt: (tree) => ddl('HIGH', 'alter', 'text search dictionary', namesIn(tree, 'dictname')),
  AlterTSConfigurationStmt: (tree) => ddl('HIGH', 'alter', 'text search configuration', namesIn(tree, 'cfgname')),
  RenameStmt: (tree) => ({ ...altering(tree, 'renameType'), changes: [...catalogChange, { kind: 'may-be-temporary', name: stringIn(tree, 'newname') ?? '' }] }),
  AlterObjectSchemaStmt: (tree) => altering(tree, 'objectType'),
  AlterObjectDependsStmt: (tree) => altering(tree, 'objectType'),
  AlterOwnerStmt: (tree) => {
    const { word } = objectKind(stringIn(tree, 'objectType'));
    const own = risk('CRITICAL', 'privilege.owner', `It gives a ${word} to another owner.`, [effect('privilege', word, objectName(tree))]);
    return { risk: own, uses: useOf(treeIn(tree, 'relation'), 'alter'), changes: catalogChange };
  },
  CommentStmt: (tree) => ddl('HIGH', 'alter', objectKind(stringIn(tree, 'objtype')).word, namesOf(nodeIn(tree, 'object'))),
  DropStmt: drop,
  RefreshMatViewStmt: (tree) => ({
    risk: risk('HIGH', 'maintenance.refresh', 'It replaces what a materialized view holds.', [effect('maintenance', 'materialized view', nameOf(treeIn(tree, 'relation')))]),
    uses: useOf(treeIn(tree, 'relation'), 'maintain'),
  }),
};

export const catalogChange: readonly SessionChange[] = [{ kind: 'catalog' }];

const verbs: Readonly<Partial<Record<EffectKind, string>>> = { create: 'makes', alter: 'changes', drop: 'drops', privilege: 'changes who may use', server: 'changes' };

export function ddl(level: Exclude<Level, 'SAFE'>, kind: EffectKind, object: string, name: string | readonly string[] = '', lost?: Recoverability): OwnReading {
  const text = typeof name === 'string' ? name : name.join('.');
  const article = /^[aeiou]/.test(object) ? 'an' : 'a';
  const rule = `${kind}.${object.replaceAll(/[^a-z]+/g, '-')}`;
  return { risk: risk(level, rule, `It ${verbs[kind] ?? 'touches'} ${article} ${object}.`, [effect(kind, object, text)], lost), changes: catalogChange };
}

function reference(names: readonly string[]): FunctionMention {
  return { ...qualified(names), constants: [], kind: 'reference' };
}

/** A type in pg_temp is found before every other of its name. */
function createdType(word: string, names: readonly string[]): OwnReading {
  const own = ddl('HIGH', 'create', word, names);
  if (names.at(-2)?.startsWith('pg_temp') !== true) return own;
  return { ...own, changes: [...catalogChange, { kind: 'temporary-relation', name: names.at(-1) ?? '', opaque: true }] };
}

function createdTemporary(objectWord: string, relation: Tree | undefined, isOpaque: boolean): OwnReading {
  const own = risk('LOW', 'temporary.create', `It makes a temporary ${objectWord} of this session.`, [effect('create', objectWord, nameOf(relation), 'temporary')]);
  const name = stringIn(relation ?? {}, 'relname') ?? '';
  return { risk: own, uses: useOf(relation), changes: [{ kind: 'temporary-relation', name, ...(isOpaque ? { opaque: true } : {}) }] };
}

function created(tree: Tree, field: string, objectWord: string): OwnReading {
  const relation = treeIn(tree, field);
  if (isCreatedTemporary(relation)) return createdTemporary(objectWord, relation, true);
  return { ...ddl('HIGH', 'create', objectWord, nameOf(relation)), uses: useOf(relation) };
}

function createTable(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  if (isCreatedTemporary(relation)) {
    const made = createdTemporary('table', relation, !isPlainTable(tree));
    const parents = nodesIn(tree, 'inhRelations').map((node) => node.tree).filter((parent) => !context.isTemporary(rangeVarNames(parent)));
    if (parents.length === 0) return made;
    // As long as the session lives nobody can alter such a parent: it has a child that only this session sees.
    const adopting = risk('HIGH', 'temporary.inherits', 'It makes a permanent table the parent of a temporary one.', parents.map((parent) => effect('alter', 'table', nameOf(parent))));
    return { ...made, risk: joinRisks(made.risk, adopting), uses: [...made.uses ?? [], ...parents.flatMap((parent) => useOf(parent, 'alter'))] };
  }
  // What it is a part of shows its rows from now on.
  const parents = nodesIn(tree, 'inhRelations').flatMap((parent) => useOf(parent.tree, 'alter', 'read'));
  return { ...ddl('HIGH', 'create', 'table', nameOf(relation)), uses: [...useOf(relation), ...parents] };
}

const builtinTypes: ReadonlySet<string> = new Set([
  'int2', 'int4', 'int8', 'smallint', 'integer', 'int', 'bigint', 'serial', 'serial4', 'serial8', 'bigserial', 'smallserial', 'serial2', 'text', 'varchar',
  'bpchar', 'char', 'name', 'bool', 'boolean', 'numeric', 'decimal', 'float4', 'float8', 'real', 'money', 'date', 'time', 'timetz', 'timestamp',
  'timestamptz', 'interval', 'uuid', 'json', 'jsonb', 'bytea', 'inet', 'cidr', 'macaddr', 'bit', 'varbit', 'oid', 'xml', 'point', 'tsvector', 'tsquery',
]);
const plainConstraints: ReadonlySet<string> = new Set(['CONSTR_NULL', 'CONSTR_NOTNULL', 'CONSTR_PRIMARY', 'CONSTR_UNIQUE']);

/** Nothing in it could run code when a row is written later: no default, check, generated column, parent, or type of the user's. */
function isPlainTable(tree: Tree): boolean {
  if (['inhRelations', 'partspec', 'partbound', 'ofTypename', 'constraints', 'accessMethod'].some((field) => Object.hasOwn(tree, field))) return false;
  return nodesIn(tree, 'tableElts').every((element) => (element.type === 'Constraint' ? isPlainConstraint(element) : isPlainColumn(element)));
}

function isPlainColumn({ type, tree }: Node): boolean {
  if (type !== 'ColumnDef' || Object.hasOwn(tree, 'raw_default')) return false;
  const names = namesIn(treeIn(tree, 'typeName') ?? {}, 'names');
  const isBuiltin = builtinTypes.has(names.at(-1) ?? '') && (names.length === 1 || (names.length === 2 && names[0] === 'pg_catalog'));
  return isBuiltin && nodesIn(tree, 'constraints').every(isPlainConstraint);
}

function isPlainConstraint({ type, tree }: Node): boolean {
  const kind = stringIn(tree, 'contype') ?? '';
  if (kind === 'CONSTR_DEFAULT') return nodeIn(tree, 'raw_expr')?.type === 'A_Const';
  return type === 'Constraint' && plainConstraints.has(kind);
}

function createIndex(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  const uses = useOf(relation, 'alter');
  if (context.isTemporary(rangeVarNames(relation ?? {}))) return { risk: temporaryWrite('create', nameOf(relation)), uses };
  const own = ddl('HIGH', 'create', 'index', stringIn(tree, 'idxname') ?? '');
  const mode = flagIn(tree, 'concurrent') ? 'SHARE UPDATE EXCLUSIVE' : 'SHARE';
  const lock = risk('HIGH', 'lock.index', `It locks the table in mode ${mode} while the index is built.`, [effect('lock', 'table', nameOf(relation), mode)]);
  return { ...own, risk: joinRisks(own.risk, lock), uses };
}

function createView(tree: Tree): OwnReading {
  const view = treeIn(tree, 'view');
  if (isCreatedTemporary(view)) return { ...createdTemporary('view', view, true), inner: 'stored' };
  // A view over a temporary table is itself temporary, whatever the statement says.
  const changes: readonly SessionChange[] = [...catalogChange, { kind: 'may-be-temporary', name: stringIn(view ?? {}, 'relname') ?? '' }];
  return { ...ddl('HIGH', 'create', 'view', nameOf(view)), uses: useOf(view), inner: 'stored', changes };
}

/** Languages whose functions can do whatever the server process can. */
const trustedLanguages: ReadonlySet<string> = new Set(['sql', 'plpgsql', 'plperl', 'pltcl', 'plv8', 'plrust']);

function createFunction(tree: Tree): OwnReading {
  const language = nodesIn(tree, 'options').filter((option) => stringIn(option.tree, 'defname') === 'language').map((option) => namesOf(nodeIn(option.tree, 'arg'))[0]?.toLowerCase() ?? '')[0];
  const isTrusted = language === undefined || trustedLanguages.has(language);
  const word = flagIn(tree, 'is_procedure') ? 'procedure' : 'function';
  const own = ddl('HIGH', 'create', word, namesIn(tree, 'funcname'));
  const untrusted = risk('CRITICAL', 'create.untrusted-function', `It makes a ${word} in a language that the server does not confine.`, [effect('program', word, namesIn(tree, 'funcname').join('.'))]);
  return { ...own, risk: isTrusted ? own.risk : joinRisks(own.risk, untrusted), inner: 'stored' };
}

function policy(tree: Tree, kind: 'create' | 'alter'): OwnReading {
  const table = treeIn(tree, 'table');
  const name = `${nameOf(table)}.${stringIn(tree, 'policy_name') ?? ''}`;
  const own = risk('CRITICAL', 'privilege.policy', 'It changes which rows a role may see or write.', [effect(kind, 'policy', name), effect('privilege', 'table', nameOf(table))]);
  return { risk: own, uses: useOf(table, 'alter'), inner: 'stored', changes: catalogChange };
}

function alteringRelation(tree: Tree, field: string, objectWord: string): OwnReading {
  return { ...ddl('HIGH', 'alter', objectWord, nameOf(treeIn(tree, field))), uses: useOf(treeIn(tree, field), 'alter') };
}

function objectName(tree: Tree): string {
  const relation = treeIn(tree, 'relation');
  return relation === undefined ? namesOf(nodeIn(tree, 'object')).join('.') : nameOf(relation);
}

function altering(tree: Tree, field: string): OwnReading {
  const { word } = objectKind(stringIn(tree, field));
  const level = word === 'role' || word === 'database' || word === 'object' || word === 'policy' ? 'CRITICAL' : 'HIGH';
  return { ...ddl(level, 'alter', word, objectName(tree)), uses: useOf(treeIn(tree, 'relation'), 'alter') };
}

/** Named by their table and their own name. */
const partKinds: ReadonlySet<string> = new Set(['OBJECT_TRIGGER', 'OBJECT_RULE', 'OBJECT_POLICY']);

function drop(tree: Tree, context: RowContext): OwnReading {
  const type = stringIn(tree, 'removeType');
  const isRelation = relationKinds.has(type ?? '');
  const cascade = stringIn(tree, 'behavior') === 'DROP_CASCADE';
  const names = nodesIn(tree, 'objects').map(namesOf);
  const relations = isRelation ? names.map((name) => mentionNamed(name, 'drop', { cascade }))
    : partKinds.has(type ?? '') ? names.map((name) => mentionNamed(name.slice(0, -1), 'alter')) : [];
  const own = names.map((name) => (isRelation && type !== 'OBJECT_INDEX' && !cascade && context.isTemporary(name)
    ? temporaryWrite('drop', name.join('.')) : dropRisk(type, name.join('.'), cascade)));
  const isLow = own.length > 0 && own.every(({ level }) => level === 'LOW');
  return { risk: own.length === 0 ? dropRisk(type, '', cascade) : joinAll(own), relations, changes: isLow ? [] : catalogChange };
}

export function dropRisk(type: string | undefined, name: string, cascade: boolean): Risk {
  const { word, drop: level, lost } = objectKind(type);
  const own = effect('drop', word, name, cascade ? 'CASCADE' : undefined);
  const rule = word.replaceAll(/[^a-z]+/g, '-');
  if (cascade) {
    // Of relations, schemas and extensions the catalog tells more: see reach-cascade.ts.
    const isFollowed = type !== undefined && type !== 'OBJECT_INDEX' && (relationKinds.has(type) || type === 'OBJECT_SCHEMA' || type === 'OBJECT_EXTENSION');
    const effects = isFollowed ? [own] : [own, droppedBeyond(`depends on the ${word}`)];
    return risk('CRITICAL', `drop.${rule}-cascade`, `It drops a ${word} and everything that depends on it.`, effects, lost ?? 'schema');
  }
  const effects = [own];
  return risk(level, `drop.${rule}`, `It drops a ${word}${lost === undefined ? '' : ' and what it holds'}.`, effects, lost);
}
