/**
 * The policy in force, and how another one takes its place: loaded and checked whole, put on record, and only then in
 * force. A file that is refused, or a record that cannot be written, leaves the old policy in force; the refusal is
 * logged, goes on record, and stays readable until a good file has come. Changes come one after the other.
 */
import { Failure } from '../core/failure.ts';
import type { PolicyBody } from '../core/ledger/entry.ts';
import type { Policy } from '../core/policy/policy.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Ledger } from '../store/ledger.ts';

export type PolicyTrigger = PolicyBody['trigger'];

export interface PolicyRefusal {
  /** ISO 8601. */
  readonly at: string;
  /** Every mistake, `file:line:column: what is wrong` a line. */
  readonly why: string;
}

export interface PolicyInForce {
  current(): Policy;
  /** When it came into force in this process; ISO 8601. */
  readonly since: string;
  /** Aborted once another policy is in force. */
  untilChanged(): AbortSignal;
  /** Why the file as it is now is not in force. */
  readonly refusal: PolicyRefusal | undefined;
  /**
   * Never rejects with a Failure. False: it should be tried again, though the file is as it is. Where `isUnchanged` says
   * false once the file was read, it was written meanwhile and may have been half there: it is neither taken nor refused.
   */
  reload(trigger: PolicyTrigger, isUnchanged?: () => Promise<boolean>): Promise<boolean>;
}

export interface PolicyInForceDeps {
  /** Throws Failure `policy_invalid`. */
  readonly load: () => Promise<Policy>;
  readonly ledger: Pick<Ledger, 'append'>;
  readonly clock: Clock;
  readonly log: Log;
  /** For counting; must not throw. */
  readonly onReload?: (result: 'changed' | 'unchanged' | 'refused') => void;
}

/** Throws Failure when there is no policy to begin with, or it cannot be put on record. */
export async function startPolicy(deps: PolicyInForceDeps): Promise<PolicyInForce> {
  const first = await deps.load();
  await deps.ledger.append(bodyOf(first, undefined, 'start', 'in-force', null));
  return new LoadedPolicy(deps, first);
}

class LoadedPolicy implements PolicyInForce {
  readonly #deps: PolicyInForceDeps;
  #policy: Policy;
  #since: string;
  #change = new AbortController();
  #refusal: PolicyRefusal | undefined;
  #last: Promise<boolean> = Promise.resolve(true);

  constructor(deps: PolicyInForceDeps, first: Policy) {
    this.#deps = deps;
    this.#policy = first;
    this.#since = deps.clock.now().toISOString();
  }

  current(): Policy { return this.#policy; }
  get since(): string { return this.#since; }
  untilChanged(): AbortSignal { return this.#change.signal; }
  get refusal(): PolicyRefusal | undefined { return this.#refusal; }

  reload(trigger: PolicyTrigger, isUnchanged: () => Promise<boolean> = () => Promise.resolve(true)): Promise<boolean> {
    this.#last = this.#last.then(() => this.#reload(trigger, isUnchanged));
    return this.#last;
  }

  async #reload(trigger: PolicyTrigger, isUnchanged: () => Promise<boolean>): Promise<boolean> {
    const [loaded] = await Promise.allSettled([this.#deps.load()]);
    if (!await isUnchanged()) return false;
    try {
      if (loaded.status === 'rejected') throw loaded.reason;
      const next = loaded.value;
      if (next.hash === this.#policy.hash) this.#kept(next);
      else await this.#replace(next, trigger);
      return true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return await this.#refuse(error, trigger);
    }
  }

  #kept({ name, hash }: Policy): void {
    this.#refusal = undefined;
    this.#deps.onReload?.('unchanged');
    this.#deps.log.info({ policy: name, policyHash: hash }, 'the policy file says what is in force already');
  }

  /** On record first: no verdict is given under a policy that the record does not know. */
  async #replace(next: Policy, trigger: PolicyTrigger): Promise<void> {
    const { name, hash } = this.#policy;
    await this.#deps.ledger.append(bodyOf(next, this.#policy, trigger, 'in-force', null));
    this.#policy = next;
    this.#since = this.#deps.clock.now().toISOString();
    this.#refusal = undefined;
    const change = this.#change;
    this.#change = new AbortController();
    change.abort();
    this.#deps.onReload?.('changed');
    this.#deps.log.warn({ policy: next.name, policyHash: next.hash, replaced: name, replacedHash: hash, trigger }, 'another policy is in force');
  }

  async #refuse(failure: Failure, trigger: PolicyTrigger): Promise<boolean> {
    const why = failure.detail === undefined ? failure.message : `${failure.message}\n${failure.detail}`;
    const { name, hash } = this.#policy;
    this.#refusal = { at: this.#deps.clock.now().toISOString(), why };
    this.#deps.onReload?.('refused');
    this.#deps.log.error({ policy: name, policyHash: hash, trigger, mistakes: why }, `the new policy is refused and the old one stays in force: ${failure.message}`);
    if (failure.code !== 'policy_invalid') return false;
    // A refusal that cannot be recorded changes nothing that could run; the log has it.
    await this.#deps.ledger.append(bodyOf(this.#policy, this.#policy, trigger, 'refused', why)).catch((error: unknown) => {
      this.#deps.log.error({ error }, 'the refusal of a policy could not be put on record');
    });
    return true;
  }
}

const noteUnitsMax = 2_000;

function bodyOf(inForce: Policy, before: Policy | undefined, trigger: PolicyTrigger, change: PolicyBody['change'], note: string | null): PolicyBody {
  return {
    kind: 'policy', change, trigger, policyName: inForce.name, policyHash: inForce.hash, previousHash: before?.hash ?? null,
    note: note === null ? null : note.slice(0, noteUnitsMax).toWellFormed(),
  };
}
