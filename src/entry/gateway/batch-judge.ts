/**
 * BatchJudge: a batch in, Work out, or the error that refuses it as a whole. It sees to it first that the session knows
 * what it judges by (catalog, search path, names). What is SAFE and known passes without waiting for anything; only
 * questions to the server and to people make the answer a promise.
 */
import { Failure } from '../../core/failure.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import { noTimeLimits } from '../../core/sql/time-limits.ts';
import type { Link } from '../../remote/postgres/link.ts';
import type { Admission, Admitted, Candidate } from './admission.ts';
import type { Batch, ExtendedBatch } from './batch.ts';
import type { SessionContext } from './context.ts';
import { ExtendedPlan } from './extended-plan.ts';
import type { Unit } from './fate.ts';
import type { Setting } from './judgements.ts';
import { cancelled } from './judging.ts';
import { keepTimeLimits, learnNames, learnPath } from './learn.ts';
import type { Plan } from './plan.ts';
import { errorOf, refusalOf } from './refuse.ts';
import type { Replies } from './replies.ts';
import { blockOf } from './transaction-debts.ts';
import { functionCandidate, queryCandidate } from './whole-plan.ts';
import { onlySync, type Work } from './work.ts';

export type JudgeableBatch = Exclude<Batch, { readonly kind: 'copy' | 'terminate' }>;
type WholeBatch = Extract<Batch, { readonly kind: 'query' | 'function-call' }>;

/** `refused`: nothing of it may reach the server. */
export type Judged = { readonly kind: 'work'; readonly work: Work } | { readonly kind: 'refused'; readonly error: Buffer };

export interface BatchJudgeDeps {
  readonly context: SessionContext;
  readonly link: Pick<Link, 'query' | 'markIdle'>;
  readonly replies: Replies;
  readonly admission: Admission;
  /** What was permitted in vain, because something before it was refused. */
  readonly onSkipped: (unit: Unit) => void;
}

export class BatchJudge {
  readonly #deps: BatchJudgeDeps;

  constructor(deps: BatchJudgeDeps) {
    this.#deps = deps;
  }

  judge(batch: JudgeableBatch): Judged | Promise<Judged> {
    // Nothing of it could be refused, not even by a cancel request.
    if (batch.kind === 'extended' && batch.frames.length === 0) return { kind: 'work', work: { ...onlySync, end: batch.end, terminator: batch.terminator } };
    if ((batch.kind === 'query' || batch.kind === 'function-call') && this.#deps.replies.implicit.hasRun) return refusedBy(unsynced());
    this.#deps.admission.begin(blockOf(this.#deps.replies));
    const known = this.#knownCatalog();
    if (known !== undefined) return this.#judgeUnder(batch, known);
    return this.#learn().then((catalog) => this.#judgeUnder(batch, catalog), (error: unknown) => this.#unlearnt(error));
  }

  /** A question of ours on the client's link fails by the same cancel request that stopped the judgement. */
  #unlearnt(error: unknown): Judged {
    const refused = refusedBy(error);
    return this.#deps.context.judging.isStopped ? refusedBy(cancelled()) : refused;
  }

  #judgeUnder(batch: JudgeableBatch, catalog: Catalog): Judged | Promise<Judged> {
    switch (batch.kind) {
      case 'too-large': return { kind: 'refused', error: errorOf(new Failure('too_large', 'Too much was sent before a Sync or Flush.')) };
      case 'extended': return this.#judgeExtended(batch, catalog);
      case 'query':
      case 'function-call': return this.#judgeWhole(batch, catalog);
    }
  }

  #judgeExtended(batch: ExtendedBatch, catalog: Catalog): Judged | Promise<Judged> {
    const { context, admission, onSkipped } = this.#deps;
    const plan = new ExtendedPlan(context, admission, batch.frames, () => this.#settingWith(catalog)).make(onSkipped);
    const work = (made: Plan): Judged => ({ kind: 'work', work: { plan: made, end: batch.end, terminator: batch.terminator } });
    return plan instanceof Promise ? plan.then(work) : work(plan);
  }

  #judgeWhole(batch: WholeBatch, catalog: Catalog): Judged | Promise<Judged> {
    const { context } = this.#deps;
    const setting = this.#settingWith(catalog);
    try {
      if (batch.kind === 'query') {
        const candidate = queryCandidate(batch.frame, context, setting);
        context.registry.checkRoomFor(candidate.statements, candidate.text);
        return this.#admit(batch, candidate);
      }
      return context.judging.unlessStopped(functionCandidate(batch.frame, context, setting)).then((candidate) => this.#admit(batch, candidate), refusedBy);
    } catch (error) {
      return refusedBy(error);
    }
  }

  #admit(batch: WholeBatch, candidate: Candidate): Judged | Promise<Judged> {
    const { admission, replies, context: { registry, state } } = this.#deps;
    const admitting = admission.admit(candidate);
    const judged = (admitted: Admitted): Judged => {
      if (admitted.kind === 'refused') return admitted;
      const { unit, risk } = admitted;
      if (batch.kind === 'query') registry.beginQuery(replies.status !== 'failed');
      for (const statement of candidate.statements) state.letThrough(statement, risk);
      return { kind: 'work', work: { plan: { frames: [batch.frame], expected: [{ kind: batch.kind, unit, part: { candidate, risk } }], refusal: undefined }, end: 'own' } };
    };
    return admitting instanceof Promise ? admitting.then(judged) : judged(admitting);
  }

  #settingWith(catalog: Catalog): Setting {
    const { state, ownCatalog } = this.#deps.context;
    const facts = ownCatalog.has(catalog) && this.#mayAsk ? { ...state.facts, catalogChanged: false } : state.facts;
    return { catalog, facts, isPlain: state.isPlain };
  }

  /** The catalog, when nothing has to be asked before the next judgement. */
  #knownCatalog(): Catalog | undefined {
    const { state, catalogs, database, ownCatalog } = this.#deps.context;
    if (state.isCatalogDue || ((state.isStale || state.areNamesStale || this.#mayKeepLimits) && this.#mayAsk)) return undefined;
    if (this.#seesOwnCatalog && !ownCatalog.isUnreadable) return ownCatalog.cached();
    return catalogs.cached(database);
  }

  get #mayKeepLimits(): boolean { return this.#deps.context.state.areLimitsDue && this.#deps.replies.status === 'idle'; }

  /** Our questions end with a Sync, so they must not fall into a pipeline; in a failed transaction they would fail. */
  get #mayAsk(): boolean { return this.#deps.replies.status !== 'failed' && !this.#deps.replies.isUnsynced; }

  /** The open transaction has changed the catalog, and can be asked for it. */
  get #seesOwnCatalog(): boolean { return this.#mayAsk && this.#deps.replies.status === 'in-transaction' && this.#deps.context.state.facts.catalogChanged; }

  async #learn(): Promise<Catalog> {
    const { link, replies, context: { state, registry, catalogs, database, judging, ownCatalog } } = this.#deps;
    if (state.isCatalogDue) {
      await judging.unlessStopped(catalogs.refresh(database));
      state.isCatalogDue = false;
    }
    if (this.#mayAsk) {
      link.markIdle();
      if (this.#mayKeepLimits) {
        await keepTimeLimits(link, state.facts.timeLimits ?? noTimeLimits);
        state.areLimitsDue = false;
      }
      if (state.isStale) await learnPath(link, state, replies.status);
      if (state.areNamesStale) await learnNames(link, state, registry);
    }
    const own = this.#seesOwnCatalog ? await ownCatalog.current() : undefined;
    return own ?? catalogs.cached(database) ?? judging.unlessStopped(catalogs.current(database, { fresh: true }));
  }
}

function unsynced(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses a Query or FunctionCall behind an Execute without its Sync: PostgreSQL 18 loses what was executed.', {
    hint: 'Send Sync first, or send this by the extended protocol too.',
  });
}

/** Throws what is neither a Failure nor the client's mistake. */
function refusedBy(error: unknown): Judged {
  return { kind: 'refused', error: refusalOf(error) };
}
