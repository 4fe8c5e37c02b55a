/**
 * What functions really do where their declared volatility does not say it: PostgreSQL's own volatile functions, the
 * immutable and stable ones that run SQL given as text or act in another way, and functions of well-known extensions.
 * A function without a row here is what it declares if it is PostgreSQL's own or of a reviewed extension; a volatile one
 * without a row is not trusted. Rows are by name, because no overload of these names is milder than another.
 */
import type { EffectKind, Level, Recoverability } from '../risk.ts';
import { actingFunctions } from './functions-acting.ts';
import { extensionFunctions, reviewedExtensions } from './functions-extensions.ts';
import { harmlessFunctions } from './functions-harmless.ts';

/** Arguments that decide what a call does, judged when they are constants. */
export type FunctionArgument =
  /** `andAt`: another such argument, where one is given. */
  | { readonly kind: 'sql'; readonly at: number; readonly andAt?: number }
  | { readonly kind: 'relation'; readonly at: number }
  | { readonly kind: 'cursor'; readonly at: number }
  | { readonly kind: 'type'; readonly at: number }
  | { readonly kind: 'setting'; readonly at: number }
  /** Reads a setting; `all`: every one there is. */
  | { readonly kind: 'read-setting'; readonly at: number | 'all' }
  /** Builds values of a type that its arguments carry: every domain check of the database may run. */
  | { readonly kind: 'any-type' };

export interface FunctionRow {
  readonly level: Level;
  readonly effect: EffectKind;
  readonly note: string;
  readonly hazard?: string;
  readonly destroys?: boolean;
  readonly recoverability?: Recoverability;
  readonly argument?: FunctionArgument;
}

export function builtinFunction(name: string): FunctionRow | undefined {
  return builtinRows.get(name);
}

export function extensionFunction(name: string): FunctionRow | undefined {
  return extensionRows.get(name);
}

export function isReviewedExtension(extension: string): boolean {
  return reviewedExtensions.has(extension);
}

const harmless: FunctionRow = { level: 'SAFE', effect: 'read', note: 'reads only' };
const builtinRows: ReadonlyMap<string, FunctionRow> = new Map([
  ...harmlessFunctions.map((name): [string, FunctionRow] => [name, harmless]),
  ...rowsOf(actingFunctions),
]);
const extensionRows: ReadonlyMap<string, FunctionRow> = new Map(rowsOf(extensionFunctions));

/** Space-separated names share one row. */
export interface FunctionGroup extends FunctionRow { readonly names: string }

function rowsOf(groups: readonly FunctionGroup[]): [string, FunctionRow][] {
  return groups.flatMap(({ names, ...row }) => names.trim().split(/\s+/).map((name): [string, FunctionRow] => [name, row]));
}
