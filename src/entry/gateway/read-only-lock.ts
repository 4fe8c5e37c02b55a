/**
 * ReadOnlyLock: the second lock. Between pieces of work the upstream session stands `locked`: every transaction that it
 * begins is read-only, so that PostgreSQL itself refuses a write that was misjudged as SAFE. Work that may notice the
 * difference runs in the client's `own` mode. The switch is one FunctionCall in front of the work, in the same write: it
 * is a transaction of its own, and touches neither the unnamed statement nor any portal. Pure; it only knows values.
 *
 *   locked ─ work that needs its own mode ─▶ own ─ the next work that is SAFE and stands alone ─▶ locked …
 *
 * What the client can observe is its own value alone: reports that our switches cause are kept from it.
 */
import { isAtLeast, type Risk } from '../../core/risk.ts';
import type { Statement } from '../../core/sql/statement.ts';
import { assert } from '../../lib/assert.ts';
import { encodeFunctionCall } from '../../lib/pgwire/frontend-encode.ts';
import type { Work } from './work.ts';

export const lockedSetting = 'default_transaction_read_only';

export type LockMode = 'locked' | 'own';
/** `any`: it begins no transaction in which the mode could matter. */
export type NeededMode = LockMode | 'any';

/** Bytes to be sent in front of the work, to be answered by FunctionCallResponse, perhaps a report, and ReadyForQuery. */
export interface Switch { readonly bytes: Buffer; readonly to: LockMode }

/** OID of pg_catalog.set_config(text, text, boolean) in every major version. */
const setConfigOid = 2078;
const lockBytes = setConfigCall('on');

export class ReadOnlyLock {
  #stands: LockMode = 'locked';
  readonly #begun: string;
  /** The client's own value, as it was last told. */
  #own: string;
  /** It comes from where it came at the session's start, not from a SET: then RESET brings it back as it was. */
  #isReset = true;
  readonly #defersByDefault: boolean;
  #isSuspended: boolean;

  /** The session has just been locked; `own` is the value that the server reported at its start. */
  constructor(start: { readonly own: string; readonly isDeferrable: boolean }) {
    this.#begun = this.#own = start.own;
    this.#defersByDefault = this.#isSuspended = start.isDeferrable;
  }

  get stands(): LockMode { return this.#stands; }

  /** What must be sent before work that needs this mode; only while no transaction is open. */
  switchFor(need: NeededMode): Switch | undefined {
    const to = need === 'locked' && this.#isSuspended ? 'own' : need;
    if (to === 'any' || to === this.#stands) return undefined;
    this.#stands = to;
    return { to, bytes: to === 'locked' ? lockBytes : setConfigCall(this.#isReset ? null : this.#own) };
  }

  /** The answer to a switch: set_config returns the value that holds now. Throws Bug when the lock did not close. */
  switched({ to }: Pick<Switch, 'to'>, value: string | null): void {
    assert(to === 'own' || value === 'on', `the server answered ${value ?? 'nothing'} when the session was locked`);
  }

  /** The server reports the setting. True when the client is to be told. `during`: a switch of ours is being answered. */
  reported(value: string, during: Pick<Switch, 'to'> | undefined): boolean {
    if (during?.to === 'locked') return false;
    if (during === undefined) {
      // In locked mode nothing should be able to change it; whatever did has opened the lock, and the next work closes it.
      this.#stands = 'own';
      if (value !== this.#begun) this.#isReset = false;
    }
    const isNews = value !== this.#own;
    this.#own = value;
    return isNews;
  }

  /**
   * What was let through, from which the way back is known and whether to lock at all. A serializable read-only deferrable transaction waits for a quiet moment before it begins. A client that has asked
   * for deferrable transactions did not ask for that of its read-write ones, so its session is then left unlocked.
   */
  follow({ changes }: Pick<Statement, 'changes'>): void {
    for (const change of changes) {
      if (change.kind === 'reset-all') {
        this.#isSuspended = this.#defersByDefault;
        this.#isReset = true;
      } else if (change.kind === 'setting' && (change.name === lockedSetting || change.name === 'session characteristics')) {
        this.#isReset = change.name === lockedSetting && change.value === undefined;
      } else if (change.kind === 'setting' && change.name === 'default_transaction_deferrable') {
        this.#isSuspended = change.value === undefined ? this.#defersByDefault : !isOff.test(change.value);
      }
    }
  }
}

/** In which mode a judged batch must begin, when no transaction is open. */
export function neededMode({ plan: { expected }, end }: Work): NeededMode {
  // A transaction that stays open may go on with anything, unless it can still be ended unnoticed.
  if (end === 'flush' || end === 'open') return expected.every(({ kind }) => kind === 'parse' || kind === 'describe' || kind === 'close') ? 'any' : 'own';
  let need: NeededMode = 'any';
  for (const one of expected) {
    if (one.kind === 'bind' && need === 'any') need = 'own';
    // Without a part it goes on with a portal that an Execute before it in this batch has opened.
    if (!('unit' in one) || one.part === undefined) continue;
    if (!canRunLocked(one.part.risk, one.unit.statements)) return 'own';
    need = 'locked';
  }
  return need;
}

const isOff = /^\s*(?:of|off|f|fa|fal|fals|false|n|no|0)\s*$/i;

/** What it reads of the server does not tell it in which mode it runs, and it is nothing but reading. */
export function canRunLocked(risk: Risk, statements: readonly Statement[]): boolean {
  if (isAtLeast(risk.level, 'LOW')) return false;
  return statements.every(({ node }) => lockableNodes.has(node)) && !risk.effects.some(({ kind, objectKind }) => kind === 'read' && objectKind === 'setting');
}

const lockableNodes: ReadonlySet<string> = new Set(['SelectStmt', 'CopyStmt', 'ExplainStmt', 'ExecuteStmt', 'VariableShowStmt']);

function setConfigCall(value: string | null): Buffer {
  const values = [Buffer.from(lockedSetting), value === null ? null : Buffer.from(value), Buffer.from('f')];
  return encodeFunctionCall({ functionOid: setConfigOid, formats: [], values, resultFormat: 'text' });
}
