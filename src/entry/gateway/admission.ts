/**
 * Admission of one action of a session: asks the guard, and turns its answer into a unit that may be forwarded or into
 * the error that the client gets. What is SAFE passes synchronously on a catalog checked a moment ago, and so may what only
 * changes rows inside a transaction block; anything else is judged again on a catalog compared with the database now, waits
 * for what the transaction owes (transaction-debts.ts), and may wait for a person while the client sees a notice.
 */
import type { SqlAction } from '../../core/action.ts';
import type { Approval } from '../../core/approval.ts';
import { Failure } from '../../core/failure.ts';
import { noImpact, unknownImpact, type BoundedImpact, type Impact } from '../../core/impact.ts';
import type { Outcome } from '../../core/outcome.ts';
import { isAtLeast, type Risk } from '../../core/risk.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import { isUndoneByRollback } from '../../core/sql/changes-rows.ts';
import type { SessionFacts, Statement } from '../../core/sql/statement.ts';
import type { GuardRequest, Judgement, Permitted } from '../../flow/guard.ts';
import type { MeasureRequest } from '../../remote/postgres/measure.ts';
import type { SessionContext } from './context.ts';
import type { TransactionEnd, Unit } from './fate.ts';
import type { Setting, TextFacts } from './judgements.ts';
import { cancelled } from './judging.ts';
import { comparedAgainMs } from './limits.ts';
import { firstUserOid } from './oid-names.ts';
import { errorOf, holdNotice, ownErrors } from './refuse.ts';
import { changesRowsOnly, mayCommit, TransactionDebts, type Block } from './transaction-debts.ts';
import { UnitRecovery } from './unit-recovery.ts';
import { WrittenTables } from './written-tables.ts';

/** One Query, one Execute or one FunctionCall, ready to be judged. */
export interface Candidate {
  readonly text: string;
  readonly facts: TextFacts;
  readonly statements: readonly Statement[];
  readonly digest: string;
  /** Its risk under a catalog; the rest of the setting is the session as planned up to it. */
  readonly riskUnder: (setting: Setting) => Risk;
  readonly setting: Setting;
  /** Behind an Execute of its batch that ends a failed transaction, or takes it back to a savepoint. */
  readonly isRevived?: boolean;
  /** The values of an Execute. */
  readonly bind?: MeasureRequest['bind'];
}

export type Admitted =
  | { readonly kind: 'permitted'; readonly unit: Unit; readonly risk: Risk }
  /** `isAborted`: because of the transaction, in which its Bind cannot run anything either. */
  | { readonly kind: 'refused'; readonly error: Buffer; readonly isAborted?: boolean };

export interface AdmissionHooks {
  readonly inTransaction: () => boolean;
  /** The transaction is aborted, so nothing but its end could run. */
  readonly isAborted: () => boolean;
  /** The server reads text as it was judged: UTF-8 and standard strings. */
  readonly isTextPinned: () => boolean;
  /** How its server reads and shows dates and times. */
  readonly valueSettings: () => ReadonlyMap<string, string>;
  readonly notify: (notice: Buffer) => void;
  /** The record could not take an outcome. */
  readonly onFault: (error: unknown) => void;
}

/** By the catalog of now, and by what is known of the session then. */
interface Rejudged { readonly risk: Risk; readonly catalog: Catalog; readonly facts: SessionFacts }

export class Admission {
  readonly #context: SessionContext;
  readonly #hooks: AdmissionHooks;
  readonly #written = new WrittenTables();
  readonly #debts = new TransactionDebts();
  #isHeld = false;

  constructor(context: SessionContext, hooks: AdmissionHooks) {
    this.#context = context;
    this.#hooks = hooks;
  }

  /** A person is being waited for. */
  get isHeld(): boolean { return this.#isHeld; }

  transactionEnded(how: TransactionEnd): void {
    this.#written.transactionEnded();
    // A commit has paid. That it is over is believed of the tag of a ROLLBACK and of ReadyForQuery, not of a tag alone.
    if (how === 'rolled-back' || !this.#hooks.inTransaction()) this.#debts.transactionEnded();
  }

  /** The next batch is about to be judged; see TransactionDebts.begin. */
  begin(block: Block): void { this.#debts.begin(block); }

  /** Returns at once for what is allowed and either SAFE or bound to the commit of its transaction. */
  admit(candidate: Candidate): Admitted | Promise<Admitted> {
    if (this.#context.judging.isStopped) return { kind: 'refused', error: errorOf(cancelled()) };
    if (!this.#hooks.isTextPinned() && !restoresText(candidate)) return { kind: 'refused', error: ownErrors.encodingChanged() };
    const unseen = candidate.statements.map((statement) => this.#executesUnseen(statement)).find((failure) => failure !== undefined);
    if (unseen !== undefined) return { kind: 'refused', error: errorOf(unseen) };
    const risk = candidate.riskUnder(candidate.setting);
    if (risk.level !== 'SAFE' || candidate.statements.every(({ transaction }) => transaction === undefined)) return this.#admit(candidate, risk);
    const isDue = this.#debts.isOwing && mayCommit(candidate.statements) && !(this.#debts.isSurelyFailed && candidate.statements.length === 1);
    this.#debts.mayLeaveBlock();
    return isDue ? this.#payAndAdmit(candidate, risk) : this.#admit(candidate, risk);
  }

  #admit(candidate: Candidate, risk: Risk): Admitted | Promise<Admitted> {
    try {
      const admitted = this.#admitNow(candidate, risk);
      if (admitted !== undefined) return admitted;
    } catch (error) {
      return { kind: 'refused', error: errorOf(asFailure(error)) };
    }
    if (this.#hooks.isAborted() && candidate.isRevived !== true && !endsTransaction(candidate.statements[0])) return { kind: 'refused', error: ownErrors.abortedTransaction(), isAborted: true };
    return this.#ask(candidate);
  }

  /** undefined: it cannot be decided at once. */
  #admitNow(candidate: Candidate, risk: Risk): Admitted | undefined {
    const { catalogs, database, guard } = this.#context;
    const { catalog } = candidate.setting;
    const isBoundToCommit = this.#isBoundToCommit(candidate, risk);
    if (isBoundToCommit ? catalogs.justCompared(database, comparedAgainMs) !== catalog : risk.level !== 'SAFE') return undefined;
    const request = { ...this.#request(candidate, { risk, catalog, facts: candidate.setting.facts }), isBoundToCommit };
    const permitted = guard.admitNow(request);
    if (permitted === undefined) return undefined;
    if (isBoundToCommit) this.#owe(permitted, catalog);
    this.#written.letThrough(risk);
    return { kind: 'permitted', risk, unit: this.#unit(candidate, request.action, risk, permitted) };
  }

  /** It changes nothing but rows, inside a block that the client has to end, and was not judged by what that block did to the catalog. */
  #isBoundToCommit(candidate: Candidate, risk: Risk): boolean {
    return this.#debts.mayIncur && !this.#context.state.facts.catalogChanged && isRowsAlone(candidate, risk);
  }

  #owe({ recorded = Promise.resolve() }: Permitted, { version }: Catalog): void { this.#debts.incur(recorded, version); }

  /** What ends the transaction waits for what that owes; when it cannot pay, it is refused, and the transaction fails with it. */
  async #payAndAdmit(candidate: Candidate, risk: Risk): Promise<Admitted> {
    try {
      await this.#pay();
    } catch (error) {
      return { kind: 'refused', error: errorOf(asFailure(error)) };
    }
    return this.#context.judging.isStopped ? { kind: 'refused', error: errorOf(cancelled()) } : this.#admit(candidate, risk);
  }

  /** Throws Failure. */
  async #pay(): Promise<void> {
    const { catalogs, database, judging } = this.#context;
    await judging.unlessStopped(this.#debts.pay(async () => (await catalogs.current(database, { fresh: true })).version));
  }

  /** EXECUTE of what only Parse could prepare: what that does to names, settings and the transaction, and casts to, stands in no text. */
  #executesUnseen({ runs }: Statement): Failure | undefined {
    const prepared = runs?.kind === 'prepared' ? this.#context.registry.prepared(runs.name) : undefined;
    if (prepared?.statement === undefined) return undefined;
    if (!preparable.has(prepared.statement.node)) return executesCommand();
    return prepared.parameterTypes.some((oid) => oid >= firstUserOid) ? castsUnseen() : undefined;
  }

  /** What the policy says, without asking anybody for anything. */
  wouldAllow(candidate: Candidate): boolean {
    const { catalog } = candidate.setting;
    return this.#context.guard.judge(this.#request(candidate, { risk: candidate.riskUnder(candidate.setting), catalog, facts: candidate.setting.facts })).decision === 'allow';
  }

  async #ask(candidate: Candidate): Promise<Admitted> {
    const { signal } = this.#context.judging;
    try {
      const judged = await this.#rejudge(candidate);
      const { risk, catalog } = judged;
      const comparedMs = this.#context.nowMs();
      const isBoundToCommit = this.#isBoundToCommit(candidate, risk);
      if (!isBoundToCommit) {
        this.#debts.mayLeaveBlock();
        if (this.#debts.isOwing) await this.#pay();
      }
      const request: GuardRequest = { ...this.#request(candidate, judged), isBoundToCommit, isBoundToPoint: !isBoundToCommit && isRowsAlone(candidate, risk), measure: (signal) => this.#measure(candidate, catalog, risk, signal), bound: () => this.#bound(candidate, catalog, risk) };
      const admission = await this.#context.guard.admit(request, {
        signal,
        onHold: (approval: Approval, waitMs: number) => {
          this.#isHeld = true;
          this.#hooks.notify(holdNotice(approval, waitMs));
        },
      });
      if (admission.kind === 'refused') return { kind: 'refused', error: signal.aborted ? this.#cancelled() : errorOf(admission.failure) };
      const unit = this.#unit({ ...candidate, setting: { ...candidate.setting, catalog } }, request.action, risk, admission);
      if (isBoundToCommit) this.#owe(admission, catalog);
      const refusal = await this.#refusalNow(candidate, catalog, comparedMs).catch((error: unknown) => { unit.settle(neverRan); throw error; });
      if (refusal === undefined) {
        this.#written.letThrough(risk);
        return { kind: 'permitted', unit, risk };
      }
      unit.settle(neverRan);
      return { kind: 'refused', error: refusal };
    } catch (error) {
      const failure = asFailure(error);
      return { kind: 'refused', error: signal.aborted ? this.#cancelled() : errorOf(failure) };
    } finally {
      this.#isHeld = false;
    }
  }

  #cancelled(): Buffer { return this.#isHeld ? ownErrors.cancelledHold() : errorOf(cancelled()); }

  /** Why what has its permit may not run all the same. */
  async #refusalNow(candidate: Candidate, catalog: Catalog, comparedMs: number): Promise<Buffer | undefined> {
    if (await this.#hasMoved(candidate, catalog, comparedMs)) return ownErrors.schemaMoved();
    return this.#context.judging.isStopped ? this.#cancelled() : undefined;
  }

  /** Measuring and asking people take their time, and somebody may have changed what the statement means meanwhile. */
  async #hasMoved(candidate: Candidate, catalog: Catalog, comparedMs: number): Promise<boolean> {
    if (this.#context.nowMs() - comparedMs < comparedAgainMs) return false;
    return (await this.#rejudge(candidate)).catalog.version !== catalog.version;
  }

  async #rejudge({ setting, riskUnder }: Candidate): Promise<Rejudged> {
    const { catalogs, database, judging, ownCatalog, state } = this.#context;
    const own = ownCatalog.has(setting.catalog) ? await ownCatalog.compared() : undefined;
    if (own !== undefined) return { risk: riskUnder({ ...setting, catalog: own }), catalog: own, facts: setting.facts };
    const catalog = await judging.unlessStopped(catalogs.current(database, { fresh: true }));
    const facts = state.facts.catalogChanged ? { ...setting.facts, catalogChanged: true } : setting.facts;
    return { risk: riskUnder({ ...setting, facts, catalog }), catalog, facts };
  }

  #bound({ statements, setting, bind }: Candidate, catalog: Catalog, risk: Risk): BoundedImpact | undefined {
    const found = this.#context.judgements.rowBound(statements, risk, { ...setting, catalog }, bind?.parameterTypes ?? []);
    return found === undefined ? undefined : { kind: 'bounded', ...found };
  }

  async #measure({ statements, setting, bind }: Candidate, catalog: Catalog, risk: Risk, signal: AbortSignal): Promise<Impact> {
    const { measure, judgements, judging } = this.#context;
    const under = { ...setting, catalog };
    const plan = judgements.measurePlan(statements, risk, under, this.#written.tables);
    const asked = { role: setting.facts.role, searchPath: setting.facts.searchPath ?? [], settings: this.#hooks.valueSettings(), signal };
    const count = (request: Parameters<typeof measure>[0]): Promise<Impact> => judging.unlessStopped(measure(request)).catch(() => unknownImpact('its client gave up'));
    switch (plan.kind) {
      case 'none': return noImpact;
      case 'unknown': return unknownImpact(plan.reason);
      case 'loss': {
        const impact = await count({ ...asked, query: plan });
        // Without a row to lose, nothing is left to be held against a number of them.
        return impact.kind === 'unknown' && !plan.losesRows ? noImpact : impact;
      }
      case 'query':
        // To learn the types of parameters the server parses the statement, which may run code of users' types.
        if (bind !== undefined && judgements.mayRunWhenParsed(under)) return unknownImpact('parsing it could run code of a type of this database');
        return count({ ...asked, query: plan, bind });
    }
  }

  #request(candidate: Candidate, judged: Rejudged): GuardRequest {
    return {
      action: this.#action(candidate), ...this.#judgement(candidate, judged),
      rejudge: async () => this.#judgement(candidate, await this.#rejudge(candidate)),
    };
  }

  #judgement({ statements, setting }: Candidate, { risk, catalog, facts }: Rejudged): Judgement {
    const coverage = this.#context.judgements.coverage(statements, risk, { ...setting, catalog, facts }, this.#hooks.inTransaction());
    return { risk, coverage, catalogVersion: catalog.version };
  }

  #action({ text, facts, digest, setting }: Candidate): SqlAction {
    const { actor, sessionId, database } = this.#context;
    return {
      kind: 'sql', id: this.#context.newActionId(), actor, sessionId, database, role: setting.facts.role,
      // An unknown path is no path: an approval must not be valid under a known one.
      searchPath: setting.facts.searchPath ?? ['?'], valueSettings: this.#hooks.valueSettings(),
      text, redacted: facts.redacted, fingerprint: facts.fingerprint, digest, inTransaction: this.#hooks.inTransaction(),
    };
  }

  #unit(candidate: Candidate, action: SqlAction, risk: Risk, permitted: Permitted): Unit {
    let isSettled = false;
    const recovery = permitted.coverage === undefined ? undefined : new UnitRecovery(permitted.coverage, action.redacted, permitted.recorded);
    return {
      actionId: action.id, statements: candidate.statements, source: candidate.text, isSafe: !isAtLeast(risk.level, 'LOW'), ceiling: permitted.ceiling, recovery, ran: permitted.ran,
      mayEndTransaction: this.#context.judgements.mayEndTransaction(candidate.statements, candidate.setting),
      settle: (outcome) => {
        if (isSettled) return;
        isSettled = true;
        recovery?.settled(outcome);
        void Promise.resolve(permitted.settle(outcome)).catch(this.#hooks.onFault);
      },
    };
  }
}

/** A rollback leaves nothing of it. */
function isRowsAlone({ statements }: Candidate, risk: Risk): boolean { return risk.level !== 'SAFE' && changesRowsOnly(statements) && isUndoneByRollback(risk); }

const neverRan: Outcome = { kind: 'rolled-back', rows: null, durationMs: 0 };

/** What SQL PREPARE takes (PreparableStmt in PostgreSQL's grammar). */
const preparable: ReadonlySet<string> = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

function executesCommand(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses to EXECUTE a command that was prepared by the extended protocol; PREPARE itself would not take it.', {
    hint: 'Send the command itself, or execute the prepared statement by the extended protocol.',
  });
}

function castsUnseen(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses to EXECUTE a statement that the extended protocol prepared with parameters of a type of this database, because casting to it can run code.', {
    hint: 'Execute it by the extended protocol, or prepare it by PREPARE.',
  });
}

/** What an aborted transaction still accepts. */
export function endsTransaction(statement: Statement | undefined): boolean {
  const verb = statement?.transaction?.verb;
  return verb === 'commit' || verb === 'rollback' || verb === 'rollback-to' || verb === 'prepare';
}

/** Plain ASCII without a backslash means the same in every encoding and string syntax. */
function restoresText({ text, statements }: Candidate): boolean {
  const restoring = new Set(['VariableSetStmt', 'TransactionStmt', 'DiscardStmt']);
  return /^[\x01-\x5b\x5d-\x7e]*$/.test(text) && statements.every(({ node }) => restoring.has(node));
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  throw error;
}
