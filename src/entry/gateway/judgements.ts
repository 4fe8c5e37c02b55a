/**
 * Judgements: core's assessment of a text, remembered. A text that drivers send again and again is parsed once and judged
 * once for each catalog, search path and role; whatever could depend on more of the session (temporary relations, DDL in
 * an open transaction, names of prepared statements) is judged anew each time. Bounded by count and by text length.
 */
import type { Catalog } from '../../core/sql/catalog.ts';
import type { Parser, SyntaxError } from '../../lib/pgsql/parser.ts';
import { measurePlan, type MeasurePlan } from '../../core/sql/measure-query.ts';
import { rowBound, type RowBound } from '../../core/sql/row-bound.ts';
import { rowsQuery, type RowsQuery } from '../../core/sql/rows-query.ts';
import { takenBy, type Taken } from '../../core/sql/taken.ts';
import { coverageOf, type Coverage } from '../../core/recovery/coverage.ts';
import { mayEndTransaction } from '../../core/sql/transaction-control.ts';
import { joinRisks, type Risk } from '../../core/risk.ts';
import { nameCount } from '../../core/sql/mentions.ts';
import type { SessionFacts, Statement } from '../../core/sql/statement.ts';
import { keyOfLimits } from '../../core/sql/time-limits.ts';
import { judgedNamesMax, judgedTextLengthMax, judgementsMax } from './limits.ts';
import { ShapedJudgements } from './shaped-judgements.ts';

export interface Assessment {
  readonly risk: Risk;
  readonly statements: readonly { readonly statement: Statement; readonly risk: Risk }[];
  /** It could not be read. */
  readonly error?: string;
}

/** The pure functions of core/sql, as one argument. */
export interface JudgementCore {
  assess(sql: string, session: SessionFacts, catalog: Catalog, parser: Parser): Assessment;
  assessStatement(statement: Statement, session: SessionFacts, catalog: Catalog, parser: Parser): Risk;
  nextSession(session: SessionFacts, statement: Statement): SessionFacts;
  mayRunWhenParsed(session: SessionFacts, catalog: Catalog, parser: Parser): boolean;
  redact(sql: string, parser: Parser): string;
  fingerprint(sql: string): string;
}

/** What may be stored and shown of a text. */
export interface TextFacts { readonly redacted: string; readonly fingerprint: string }

export interface Judged extends TextFacts { readonly assessment: Assessment }

/** What a judgement was made from, besides the text. */
export interface Setting {
  readonly facts: SessionFacts;
  /** Nothing of the session but path and role can matter. */
  readonly isPlain: boolean;
  readonly catalog: Catalog;
}

interface Remembered { readonly judged: Judged; readonly catalog: Catalog; readonly place: string }

export class Judgements {
  readonly #core: JudgementCore;
  readonly #parser: Parser;
  readonly #byText = new Map<string, Remembered>();
  readonly #byStatement = new WeakMap<Statement, { readonly risk: Risk; readonly catalog: Catalog; readonly place: string }>();

  readonly #coverages = new WeakMap<Risk, { readonly coverage: Coverage; readonly catalog: Catalog; readonly first: Statement | undefined; readonly isInBlock: boolean }>();
  readonly #shapes = new ShapedJudgements();

  constructor(core: JudgementCore, parser: Parser) {
    this.#core = core;
    this.#parser = parser;
  }

  /**
   * A whole Query: like `judge`, and what is SAFE is also known again when nothing but its literals is new. That answer
   * serves only what may run at once; whoever asks a person judges the text itself.
   */
  judgeQuery(sql: string, setting: Setting): Judged {
    const shape = setting.isPlain ? this.#shapes.read(sql) : undefined;
    const known = shape === undefined ? undefined : this.#shapes.recall(shape, sql, setting.catalog, placeOf(setting));
    if (known !== undefined) return known;
    const judged = this.judge(sql, setting);
    if (shape !== undefined && isSmall(judged.assessment)) this.#shapes.remember(shape, sql, judged, setting.catalog, placeOf(setting), this.#parser);
    return judged;
  }

  judge(sql: string, setting: Setting): Judged {
    const place = placeOf(setting);
    const known = setting.isPlain ? this.#byText.get(sql) : undefined;
    if (known !== undefined && known.catalog === setting.catalog && known.place === place) return known.judged;
    const assessment = this.#core.assess(sql, setting.facts, setting.catalog, this.#parser);
    const { redacted, fingerprint } = known?.judged ?? this.#textFacts(sql);
    const judged: Judged = { assessment, redacted, fingerprint };
    if (setting.isPlain && sql.length <= judgedTextLengthMax && isSmall(assessment) && dependsOnTextOnly(assessment)) {
      this.#remember(sql, { judged, catalog: setting.catalog, place });
    }
    return judged;
  }

  /** At Execute, of a statement that was read at Parse. */
  judgeStatement(statement: Statement, setting: Setting): Risk {
    const place = placeOf(setting);
    const isShared = setting.isPlain && statement.runs === undefined;
    const known = isShared ? this.#byStatement.get(statement) : undefined;
    if (known !== undefined && known.catalog === setting.catalog && known.place === place) return known.risk;
    const risk = this.#core.assessStatement(statement, setting.facts, setting.catalog, this.#parser);
    if (isShared) this.#byStatement.set(statement, { risk, catalog: setting.catalog, place });
    return risk;
  }

  /** Why a text cannot be read, as the server would tell who sent it; undefined where that is not known. */
  syntaxErrorOf(sql: string): SyntaxError | undefined { return this.#parser.syntaxErrorOf(sql); }

  /** How to count what these statements would change. `written`: see MeasureInput. */
  measurePlan(statements: readonly Statement[], risk: Risk, { facts, catalog }: Setting, written: ReadonlySet<string> | undefined): MeasurePlan {
    return measurePlan({ statements, risk, session: facts, catalog, parser: this.#parser, written });
  }

  /** How far they could be undone; undefined for what is SAFE. Remembered as their risk is. */
  coverage(statements: readonly Statement[], risk: Risk, { facts, catalog }: Setting, isInBlock: boolean): Coverage | undefined {
    if (risk.level === 'SAFE') return undefined;
    const [first] = statements;
    const known = this.#coverages.get(risk);
    if (known !== undefined && known.catalog === catalog && known.first === first && known.isInBlock === isInBlock) return known.coverage;
    const coverage = coverageOf({ statements, risk, session: facts, catalog, parser: this.#parser, isInBlock });
    this.#coverages.set(risk, { coverage, catalog, first, isInBlock });
    return coverage;
  }

  /** The most rows that they can change; undefined: not proved. */
  rowBound(statements: readonly Statement[], risk: Risk, { facts, catalog }: Setting, types: readonly number[]): RowBound | undefined {
    return rowBound({ statements, risk, session: facts, catalog, parser: this.#parser, parameterTypes: types });
  }

  /** Which rows a plain UPDATE or DELETE is going to change; undefined: that is not sure. */
  rowsQuery(statements: readonly Statement[], risk: Risk, { facts, catalog }: Setting): RowsQuery | undefined {
    return rowsQuery({ statements, risk, session: facts, catalog, parser: this.#parser });
  }

  /** What a TRUNCATE, DROP or ALTER TABLE takes hold of. */
  taken(statement: Statement): Taken | undefined { return takenBy(statement, this.#parser); }

  /** Code of theirs may commit or roll back by itself, outside of a block. */
  mayEndTransaction(statements: readonly Statement[], { facts, catalog }: Setting): boolean {
    return statements.some((statement) => mayEndTransaction(statement, facts, catalog));
  }

  /** A text as it may be shown. */
  redacted(text: string): string { return this.#core.redact(text, this.#parser); }

  /** Merely parsing some statement could run code of a user's type. */
  mayRunWhenParsed({ facts, catalog }: Setting): boolean {
    return this.#core.mayRunWhenParsed(facts, catalog, this.#parser);
  }

  #textFacts(sql: string): TextFacts {
    return { redacted: this.#core.redact(sql, this.#parser), fingerprint: this.#core.fingerprint(sql) };
  }

  #remember(sql: string, remembered: Remembered): void {
    this.#byText.delete(sql);
    this.#byText.set(sql, remembered);
    if (this.#byText.size <= judgementsMax) return;
    const oldest = this.#byText.keys().next();
    if (oldest.done !== true) this.#byText.delete(oldest.value);
  }
}

/** Names may have been replaced since they were bound, by code that nobody read in the same batch. */
export function withDoubt(risk: Risk): Risk {
  return joinRisks(risk, {
    level: 'HIGH', destroys: false, recoverability: 'none', effects: [{ kind: 'unknown' }], assumptions: [],
    reasons: [{ rule: 'session.names-unknown', level: 'HIGH', message: 'Code that cannot be read runs before it in the same batch and may change what its names mean.' }],
  });
}

/** Facts are replaced when they change, so what is made of them once holds. */
const places = new WeakMap<SessionFacts, string>();

export function placeOf({ facts }: Setting): string {
  const known = places.get(facts);
  if (known !== undefined) return known;
  const { searchPath, role, timeLimits } = facts;
  const place = `${role}\0${keyOfLimits(timeLimits)}\0${searchPath === null ? '?' : `.${searchPath.join('\0')}`}`;
  places.set(facts, place);
  return place;
}

/** A short text may name thousands of things, each of which takes more room than it does. */
function isSmall({ statements, risk: { effects, reasons } }: Assessment): boolean {
  return statements.reduce((sum, { statement: { mentions } }) => sum + 1 + nameCount(mentions), effects.length + reasons.length) <= judgedNamesMax;
}

function dependsOnTextOnly({ statements }: Assessment): boolean {
  return statements.every(({ statement }) => statement.runs === undefined);
}
