/**
 * Turns rows of text from the catalog queries into facts, and OIDs into qualified names. A row of an unexpected shape,
 * or a relation without a name, is a failure: a catalog that was half understood would judge too mildly. A type or function
 * without a name is unknown by its name too, and unknown is never harmless.
 */
import { z } from 'zod';
import { Failure } from '../../core/failure.ts';
import { qualify, signatureOf } from '../../core/sql/catalog.ts';
import type { FunctionFact, OperatorFact, QualifiedName, TypeFact } from '../../core/sql/catalog-facts.ts';
import { typeKind } from './builtin-catalog.ts';

export type Row = readonly (string | null)[];

const oidList = z.array(z.union([z.number(), z.string()]).transform(String));
const nullableTexts = z.array(z.string().nullable());

/** Names by OID of what other rows refer to. */
export class Names {
  readonly #types: ReadonlyMap<string, QualifiedName>;
  readonly #functions = new Map<string, { readonly name: QualifiedName; readonly signature: string }>();
  readonly #relations = new Map<string, QualifiedName>();

  constructor(typeRows: readonly Row[]) {
    this.#types = new Map(typeRows.map(([oid, schema, name]) => [text(oid), qualify(text(schema), text(name))]));
  }

  addFunctions(rows: readonly Row[]): void {
    for (const row of rows) {
      const args = oids(row[3]).map((oid) => this.type(oid));
      const [schema, name] = [text(row[1]), text(row[2])];
      this.#functions.set(text(row[0]), { name: qualify(schema, name), signature: signatureOf({ schema, name, args }) });
    }
  }

  addRelations(rows: readonly Row[]): void {
    for (const row of rows) this.#relations.set(text(row[0]), qualify(text(row[1]), text(row[2])));
  }

  /** One without a name is of some session's temporary schema: it stays unknown as well. */
  type(oid: string | null | undefined): QualifiedName {
    return this.#types.get(text(oid)) ?? `unknown type ${text(oid)}`;
  }

  /** Signature. An OID without a function (dropped since, or made by initdb and used by nobody's) stays unknown, which never judges mildly. */
  function(oid: string | null | undefined): string {
    return this.#functions.get(text(oid))?.signature ?? `unknown function ${text(oid)}`;
  }

  functionName(oid: string | null | undefined): QualifiedName {
    return this.#functions.get(text(oid))?.name ?? `unknown function ${text(oid)}`;
  }

  relation(oid: string | null | undefined): QualifiedName {
    const name = this.#relations.get(text(oid));
    if (name === undefined) throw new Failure('upstream_unsupported', `The catalog names a relation ${oid} that it does not have.`);
    return name;
  }

  hasRelation(oid: string | null | undefined): boolean {
    return this.#relations.has(text(oid));
  }
}

export function text(value: string | null | undefined): string {
  if (value === null || value === undefined) throw new Failure('upstream_unsupported', 'The catalog lacks a value that it must have.');
  return value;
}

export function json(value: string | null | undefined): unknown {
  return value === null || value === undefined ? undefined : JSON.parse(value);
}

export function oids(value: string | null | undefined): readonly string[] {
  return value === null || value === undefined ? [] : oidList.parse(JSON.parse(value));
}

export function texts(value: string | null | undefined): readonly string[] {
  return value === null || value === undefined ? [] : nullableTexts.parse(JSON.parse(value)).map((item) => item ?? '');
}

const kinds: ReadonlyMap<string, FunctionFact['kind']> = new Map([['f', 'function'], ['p', 'procedure'], ['a', 'aggregate'], ['w', 'window']]);
const volatilities: ReadonlyMap<string, FunctionFact['volatility']> = new Map([['i', 'immutable'], ['s', 'stable'], ['v', 'volatile']]);

export function readFunction(row: Row, names: Names): FunctionFact {
  const [, schema, name, args, argNames, defaults, variadic, returns, kind, volatility, language, definer, config, support,
    source, bound, defaultExpressions, uses, owner, extension, , allTypes] = row;
  return {
    schema: text(schema), name: text(name), args: oids(args).map((oid) => names.type(oid)), argNames: texts(argNames),
    defaults: Number(text(defaults)), returns: names.type(returns), kind: kinds.get(text(kind)) ?? 'procedure',
    volatility: volatilities.get(text(volatility)) ?? 'volatile', language: text(language), securityDefiner: definer === 't',
    config: texts(config), hasSupport: support === 't', owner: text(owner), boundBody: bound === 't',
    ...(allTypes === null || allTypes === undefined ? {} : { resultTypes: oids(allTypes).map((oid) => names.type(oid)) }),
    ...(variadic === '0' ? {} : { variadic: names.type(variadic) }),
    ...(extension === null || extension === undefined ? {} : { extension }),
    ...(source === null || source === undefined ? {} : { source: bound === 't' ? statementsOf(source) : source }),
    ...(defaultExpressions === null || defaultExpressions === undefined ? {} : { defaultExpressions }),
    ...(uses === null || uses === undefined ? {} : { uses: oids(uses).map((oid) => names.function(oid)) }),
  };
}

/** `RETURN expression` and `BEGIN ATOMIC … END`, as the server deparses them, as plain statements. */
function statementsOf(body: string): string {
  const atomic = /^\s*BEGIN ATOMIC\s([\s\S]*)\bEND\s*$/.exec(body);
  if (atomic?.[1] !== undefined) return atomic[1];
  return body.replace(/^\s*RETURN\s/, 'SELECT ');
}

export function functionHashOf(row: Row, names: Names): { readonly signature: string; readonly hash: string } {
  const args = oids(row[3]).map((oid) => names.type(oid));
  return { signature: signatureOf({ schema: text(row[1]), name: text(row[2]), args }), hash: text(row[20]) };
}

export function readOperator([schema, name, left, right, fn]: Row, names: Names): OperatorFact {
  return {
    schema: text(schema), name: text(name), right: names.type(right), function: names.function(fn),
    ...(left === '0' ? {} : { left: names.type(left) }),
  };
}

export function readType([, schema, name, kind, base, functions, checks, extension]: Row, names: Names): TypeFact {
  return {
    schema: text(schema), name: text(name), kind: typeKind(text(kind)),
    ...(base === null || base === undefined ? {} : { base: names.type(base) }),
    functions: oids(functions).map((oid) => names.function(oid)), checks: texts(checks),
    ...(extension === null || extension === undefined ? {} : { extension }),
  };
}
