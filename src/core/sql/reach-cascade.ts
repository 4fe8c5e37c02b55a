/**
 * What a write passes on to relations that the text does not name: foreign-key actions, TRUNCATE … CASCADE, partitions
 * and inheritance children, DROP … CASCADE (H69). The closure is walked over the catalog once per relation and use, with
 * each reached relation's own triggers, and every reached relation is an effect that says by which key.
 */
import { nothing, type Effect, type Risk } from '../risk.ts';
import type { ForeignKeyAction, ForeignKeyFact, QualifiedName, RelationFact } from './catalog-facts.ts';
import { keyOf } from './catalog.ts';
import { droppedBeyond } from './own-reading.ts';
import { childrenOf } from './reach-relation.ts';
import { danger, effectOnly, joinAll, through, type Scope } from './reach-scope.ts';
import { attachedRisk, type Write } from './reach-write.ts';

export function cascadeRisk(scope: Scope, fact: RelationFact, write: Write): Risk {
  const visited = new Set<string>();
  switch (write.use) {
    case 'delete': return keyActions(scope, fact, 'delete', undefined, visited);
    case 'update': return keyActions(scope, fact, 'update', write.columns, visited);
    case 'truncate': return joinAll([truncateClosure(scope, fact, write.cascade === true, visited)]);
    case 'drop': return write.cascade === true ? dropClosure(scope, keyOf(fact), visited) : nothing;
    // A dropped column or constraint of it takes along at most what depends on the whole.
    case 'alter': return write.cascade === true ? dependentsRisk(scope, keyOf(fact), [], visited) : nothing;
    case 'insert': return checkedKeys(scope, fact);
    default: return nothing;
  }
}

/** ON DELETE and ON UPDATE actions, to a fixed point; a changed key counts for UPDATE only. */
function keyActions(scope: Scope, fact: RelationFact, event: 'delete' | 'update', columns: readonly string[] | undefined, visited: Set<string>): Risk {
  const rows = [fact, ...childrenOf(scope, fact)];
  const keys = rows.flatMap((relation) => scope.catalog.foreignKeysTo(keyOf(relation)));
  return joinAll(keys.map((key) => keyAction(scope, key, event, columns, visited)));
}

function keyAction(scope: Scope, key: ForeignKeyFact, event: 'delete' | 'update', columns: readonly string[] | undefined, visited: Set<string>): Risk {
  if (event === 'update' && columns !== undefined && !key.toColumns.some((column) => columns.includes(column))) return nothing;
  const action = event === 'delete' ? key.onDelete : key.onUpdate;
  const passed = passedOn(action, event);
  const via = `foreign key ${key.name}`;
  if (passed === null) return through(effectOnly({ kind: 'read', object: key.from, objectKind: 'table', columns: key.fromColumns, detail: 'checked for references' }), via);
  const mark = `${passed}|${key.from}|${passed === 'update' ? key.fromColumns.join(',') : ''}`;
  if (visited.has(mark)) return nothing;
  visited.add(mark);
  const detail = `ON ${event.toUpperCase()} ${action.replace('-', ' ').toUpperCase()}`;
  const reached = danger('HIGH', 'reach.cascade', `The foreign key ${key.name} passes the change on to ${key.from} (${detail}).`,
    { kind: passed, object: key.from, objectKind: 'table', detail, ...(passed === 'update' ? { columns: key.fromColumns } : {}) }, { destroys: true, recoverability: 'exact-rows' });
  const referencing = scope.catalog.relationNamed(key.from);
  if (referencing === undefined) return through(reached, via);
  const written = passed === 'update' ? key.fromColumns : undefined;
  const attached = attachedRisk(scope, referencing, written === undefined ? { use: passed } : { use: passed, columns: written });
  return through(joinAll([reached, attached, keyActions(scope, referencing, passed, written, visited)]), via);
}

function passedOn(action: ForeignKeyAction, event: 'delete' | 'update'): 'delete' | 'update' | null {
  if (action === 'no-action' || action === 'restrict') return null;
  return action === 'cascade' && event === 'delete' ? 'delete' : 'update';
}

/** TRUNCATE takes partitions and children along, and with CASCADE every table that references any of them. */
function truncateClosure(scope: Scope, fact: RelationFact, cascade: boolean, visited: Set<string>): Risk {
  visited.add(keyOf(fact));
  const children = childrenOf(scope, fact).map((child) => ({ to: keyOf(child), via: `partition ${keyOf(child)}` }));
  const keys = cascade ? scope.catalog.foreignKeysTo(keyOf(fact)).map((key) => ({ to: key.from, via: `foreign key ${key.name}` })) : [];
  return joinAll([...children, ...keys].map(({ to, via }) => {
    const reached = scope.catalog.relationNamed(to);
    if (visited.has(to) || reached === undefined) return nothing;
    const risk = danger('CRITICAL', 'reach.truncate', `TRUNCATE also empties ${to} (${via}).`,
      { kind: 'truncate', object: to, objectKind: 'table' }, { destroys: true, recoverability: 'table' });
    const attached = attachedRisk(scope, reached, { use: 'truncate' });
    return through(joinAll([risk, attached, truncateClosure(scope, reached, cascade, visited)]), via);
  }));
}

/** What depends on a dropped relation: views, their dependents, the foreign keys that point to it, partitions and children. */
function dropClosure(scope: Scope, key: QualifiedName, visited: Set<string>): Risk {
  return dependentsRisk(scope, key, scope.catalog.relationNamed(key)?.children ?? [], visited);
}

function dependentsRisk(scope: Scope, key: QualifiedName, children: readonly QualifiedName[], visited: Set<string>): Risk {
  visited.add(key);
  const constraints = scope.catalog.foreignKeysTo(key).filter((foreign) => foreign.from !== key).map((foreign) => effectOnly(
    { kind: 'alter', object: foreign.from, objectKind: 'table', detail: `loses the foreign key ${foreign.name}` }));
  const others = scope.catalog.relationNamed(key)?.hasOtherDependents === true ? [effectOnly(droppedBeyond(`depends on ${key}`))] : [];
  const dependents = [...scope.catalog.dependents(key), ...children].filter((name) => !visited.has(name));
  const dropped = dependents.map((name) => through(joinAll([
    danger('CRITICAL', 'reach.drop', `CASCADE also drops ${name}, or a rule of it.`, { kind: 'drop', object: name, objectKind: 'relation' }, { destroys: true, recoverability: 'schema' }),
    visited.has(name) ? nothing : dropClosure(scope, name, visited),
  ]), `depends on ${key}`));
  return joinAll([...constraints, ...others, ...dropped]);
}

/** All that a dropped schema or extension holds, and what depends on that from outside. */
export function heldRisk(scope: Scope, { objectKind, object, detail }: Effect): Risk {
  const isHeld = ({ schema, extension, builtin }: RelationFact): boolean => builtin !== true && (objectKind === 'schema' ? schema === object : extension === object);
  const cascade = detail === 'CASCADE';
  const visited = new Set<string>();
  const relations = scope.catalog.facts.relations.filter(isHeld).map((fact) => joinAll([
    effectOnly({ kind: 'drop', object: keyOf(fact), objectKind: 'relation', via: [`${objectKind ?? ''} ${object ?? ''}`] }), cascade ? dropClosure(scope, keyOf(fact), visited) : nothing,
  ]));
  const { functions, types, operators } = scope.catalog.facts;
  const hasCode = objectKind !== 'schema' || [...functions, ...types.filter(({ kind }) => kind !== 'composite' && kind !== 'array'), ...operators].some(({ schema }) => schema === object);
  return joinAll([...relations, cascade && hasCode ? effectOnly(droppedBeyond(`depends on what is in ${object ?? 'it'}`)) : nothing]);
}

/** An INSERT locks and reads the rows it references. */
function checkedKeys(scope: Scope, fact: RelationFact): Risk {
  return joinAll(scope.catalog.foreignKeysFrom(keyOf(fact)).map((key) => through(
    effectOnly({ kind: 'lock', object: key.to, objectKind: 'table', detail: 'FOR KEY SHARE on referenced rows' }), `foreign key ${key.name}`)));
}
