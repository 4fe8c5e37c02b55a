/**
 * Coverage: how far an action can be undone, and by what is captured for that before it commits. Concluded from what the
 * action is proved to do and from the catalog; where anything is not known, nothing is promised. Whoever captures looks again
 * behind the locks and refuses what turns out otherwise, so a promise that does not hold costs a refusal and never data.
 */
import type { Effect, Recoverability, Risk } from '../risk.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { Catalog } from '../sql/catalog.ts';
import type { QualifiedName } from '../sql/catalog-facts.ts';
import type { SessionFacts, Statement } from '../sql/statement.ts';
import { changesDefinition, outlives, refused } from './covered.ts';
import { coveredImages } from './covered-images.ts';
import { coveredTables } from './covered-tables.ts';
import type { CaptureMethod } from './manifest.ts';

export type RecoveryScope = Recoverability;

export interface Coverage {
  readonly scope: RecoveryScope;
  /** undefined: nothing is captured. */
  readonly method: CaptureMethod | undefined;
  /** Whose rows are captured; in place of a partition the table that it is a part of. `rows`: exactly one. */
  readonly tables: readonly QualifiedName[];
  /** Why it cannot be undone, a clause that follows "because"; absent: it can, or nothing is lost. */
  readonly why?: string;
  /** For the agent, whoever approves, and the record. Never holds a literal of the statement. */
  readonly sentence: string;
  /** What does not come back, one sentence each. */
  readonly lost: readonly string[];
  /** It drops tables and nothing else is named, so a policy may have them set aside instead of copied. */
  readonly canSetAside?: boolean;
}

export interface CoverageInput {
  /** All that would run together. */
  readonly statements: readonly Statement[];
  /** Of all of them. */
  readonly risk: Risk;
  readonly session: SessionFacts;
  readonly catalog: Catalog;
  readonly parser: Parser;
  /** In a transaction block of the client's, whose end is the client's to choose. */
  readonly isInBlock: boolean;
}

export function coverageOf(input: CoverageInput): Coverage {
  const { risk } = input;
  if (!mayLose(risk)) return notNeeded(risk);
  const why = beyondReach(input);
  const covered = why !== undefined ? refused(why) : risk.effects.some(changesDefinition) ? coveredTables(input) : coveredImages(input);
  return covered.kind === 'covered' ? covered.coverage : uncovered(risk, covered.why);
}

/** A view or an index holds no data; its definition is lost all the same. */
function mayLose({ destroys, effects }: Risk): boolean {
  return destroys || effects.some((effect) => effect.kind === 'unknown' || ((effect.kind === 'drop' || effect.kind === 'truncate') && outlives(effect)));
}

function notNeeded({ effects }: Risk): Coverage {
  const adds = effects.some((effect) => effect.kind === 'insert' && outlives(effect));
  const defines = effects.some((effect) => (effect.kind === 'create' || effect.kind === 'alter') && outlives(effect));
  const sentence = defines ? 'It loses no rows, so nothing is kept; a definition that it replaces does not come back.'
    : adds ? 'It adds rows and loses none, so nothing is kept; to take them out again is another statement.' : 'It loses nothing, so there is nothing to bring back.';
  return { scope: 'not-needed', method: undefined, tables: [], sentence, lost: [] };
}

function uncovered({ recoverability }: Risk, why: string): Coverage {
  const isOutside = recoverability === 'none';
  const rest = isOutside ? 'no backup of the database surely takes it back' : 'only your own point-in-time backup could bring back what it loses';
  return { scope: isOutside ? 'none' : 'point-in-time', method: undefined, tables: [], lost: [], why, sentence: `Backstop cannot undo it, because ${why}; ${rest}.` };
}

/** What no transaction takes back, or no catalog tells beforehand. */
const beyond: Partial<Readonly<Record<Effect['kind'], string>>> = {
  file: 'it reaches files of the server', program: 'it runs programs on the server', network: 'it reaches another server', server: 'it acts on the whole server',
  replication: 'it acts on replication', privilege: 'it changes privileges in the same statement', 'large-object': 'large objects are in no table', statistics: 'it destroys statistics of the server',
  maintenance: 'it also does maintenance that no transaction takes back',
};

const opaqueNodes: ReadonlySet<string> = new Set(['DoStmt', 'CallStmt']);
const untransacted: ReadonlySet<string> = new Set(['DropdbStmt', 'DropTableSpaceStmt', 'DropSubscriptionStmt', 'AlterSystemStmt']);

function beyondReach({ statements, risk: { effects, reasons } }: CoverageInput): string | undefined {
  if (statements.length === 0) return 'its text cannot be read';
  if (statements.some(({ node }) => opaqueNodes.has(node))) return 'it runs code that can build and run any statement';
  if (statements.some(({ node }) => untransacted.has(node))) return 'it cannot run inside a transaction, so nothing of it could be kept before it is done';
  const unknown = effects.find(({ kind }) => kind === 'unknown');
  if (unknown !== undefined) return `what ${unknown.object ?? 'a part of it'} does is not known`;
  const call = effects.find(({ kind, detail }) => kind === 'call' && detail !== undefined);
  if (call !== undefined) return `${call.object ?? 'a function'} ${call.detail ?? ''}`;
  if (effects.some(({ objectKind }) => objectKind === 'system relation')) return 'it reaches into PostgreSQL\'s own catalog';
  const outside = effects.map(({ kind }) => beyond[kind]).find((why) => why !== undefined);
  if (outside !== undefined) return outside;
  if (statements.some(({ transaction }) => transaction !== undefined)) return 'it begins or ends a transaction in the same message; send it by itself';
  if (statements.some(({ copy }) => copy !== undefined)) return 'a COPY cannot be held between what it changes and its commit';
  if (reasons.some(({ rule }) => sessionRules.has(rule))) return 'it changes how triggers or row security work in its session';
  return undefined;
}

const sessionRules: ReadonlySet<string> = new Set(['session.replication-role', 'session.row-security', 'session.integrity', 'session.role']);
