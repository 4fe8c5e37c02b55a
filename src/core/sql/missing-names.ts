/**
 * Missing names: what a statement names that the live catalog does not hold. Such a statement can only fail on the
 * server, so nobody should be asked about it: whoever wrote it has mistyped a name and wants to hear that at once.
 * Answers only where the catalog speaks for certain: a known search path, no DDL in the open transaction, plain reads and
 * writes of tables. Whether the name is there a moment later is for the next judgement.
 */
import { nothing, type Risk } from '../risk.ts';
import { effectivePath, type Catalog } from './catalog.ts';
import type { FunctionMention, RelationMention } from './mentions.ts';
import type { SessionFacts, Statement } from './statement.ts';

export const missingRules = { relation: 'relation.missing', function: 'function.missing' } as const;

const nodes: ReadonlySet<string> = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CopyStmt', 'TruncateStmt', 'ExplainStmt']);

export function missingNames({ node, mentions }: Statement, session: SessionFacts, catalog: Catalog): Risk {
  if (catalog.mode !== 'live' || !nodes.has(node) || session.searchPath === null || session.catalogChanged) return nothing;
  const relation = mentions.relations.find((mention) => isMissingRelation(mention, session, catalog));
  if (relation !== undefined) return missing(missingRules.relation, `relation ${shown(relation)} does not exist`);
  const called = mentions.functions.find((mention) => isMissingFunction(mention, catalog));
  return called === undefined ? nothing : missing(missingRules.function, `function ${shown(called)} does not exist`);
}

function isMissingRelation({ schema, name }: RelationMention, { searchPath, temporary, temporaryOpaque }: SessionFacts, catalog: Catalog): boolean {
  if (schema?.startsWith('pg_temp') === true || temporary.has(name) || temporaryOpaque.has(name)) return false;
  return catalog.relation(effectivePath(schema, searchPath ?? []), name) === undefined;
}

/** A name that is also a type's may be a cast; one that stands in any schema is not for certain out of reach. */
function isMissingFunction({ schema, name, kind }: FunctionMention, catalog: Catalog): boolean {
  if (kind !== 'call' || schema?.startsWith('pg_temp') === true || catalog.functionsAnywhere(name).length > 0) return false;
  return !catalog.facts.types.some((type) => type.name === name);
}

function shown({ schema, name }: { readonly schema?: string; readonly name: string }): string {
  return `"${schema === undefined ? name : `${schema}.${name}`}"`;
}

function missing(rule: string, message: string): Risk {
  return { ...nothing, level: 'HIGH', reasons: [{ rule, level: 'HIGH', message }] };
}
