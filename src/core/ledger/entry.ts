/**
 * Entry: one line of the record. Each entry's hash covers its own canonical form and the hash of the entry before it,
 * so nothing can be changed, removed or put between without breaking every later hash. Bodies hold redacted text,
 * digests and names, never a literal of a statement and never a credential; numbers are safe integers (RFC 8785).
 */
import { canonicalJson } from '../../lib/canonical-json.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import type { Outcome } from '../outcome.ts';
import type { CaptureMethod } from '../recovery/manifest.ts';
import type { Level, Recoverability } from '../risk.ts';
import type { Decision, FiredRule } from '../verdict.ts';

/** What was asked and what the policy said; written before anything risky runs, and for every refusal. */
export interface VerdictBody {
  readonly kind: 'verdict';
  readonly actionId: string;
  readonly sessionId: string;
  readonly agent: string;
  readonly database: string;
  readonly role: string;
  readonly searchPath: readonly string[];
  readonly digest: string;
  readonly fingerprint: string;
  readonly text: string;
  readonly level: Level;
  /** Rule ids of the judgement. */
  readonly reasons: readonly string[];
  /** `kind object`, bounded. */
  readonly effects: readonly string[];
  readonly destroys: boolean;
  readonly recoverability: Recoverability;
  readonly decision: Decision;
  readonly wouldBe: Decision;
  readonly fired: readonly FiredRule[];
  readonly policyName: string;
  readonly policyHash: string;
  /** Absent: the base of the policy. */
  readonly scope?: string;
  readonly catalogVersion: string;
  readonly approvalId: string | null;
  /** What was promised of its undo; absent: nothing had to be. */
  readonly coverage?: { readonly scope: Recoverability; readonly method: CaptureMethod | null; readonly sentence: string; readonly lost: readonly string[] };
  /** It ran although nothing brings back what it destroys: an operator said so, by `approvalId`. */
  readonly override?: true;
}

export interface OutcomeBody {
  readonly kind: 'outcome';
  readonly actionId: string;
  readonly outcome: Outcome['kind'];
  readonly rows: number | null;
  /** Rows changed beside those: through foreign keys, triggers and functions; absent where that was not measured. */
  readonly elsewhere?: number;
  readonly sqlstate: string | null;
  readonly durationUs: number;
  /** Set when the outcome was not seen but concluded, e.g. after a crash. */
  readonly note: string | null;
}

/** [session, text, actionId, ms after `since`, digest, outcome or `open`, rows, µs, sqlstate]: the first two index the lists. */
export type ReadRow = readonly [number, number, string, number, string, Outcome['kind'] | 'open', number | null, number, string | null];

/** A batch of SAFE reads, all allowed under one policy; `open` ones get an outcome entry of their own later. */
export interface ReadsBody {
  readonly kind: 'reads';
  readonly since: string;
  readonly policyName: string;
  readonly policyHash: string;
  readonly sessions: readonly { readonly sessionId: string; readonly agent: string; readonly database: string }[];
  readonly texts: readonly { readonly fingerprint: string; readonly text: string }[];
  readonly reads: readonly ReadRow[];
}

export interface ApprovalBody {
  readonly kind: 'approval';
  readonly change: 'requested' | 'approved' | 'overridden' | 'denied' | 'expired' | 'used';
  /** On every entry of a request that only an override opens. */
  readonly override?: true;
  readonly approvalId: string;
  readonly actionId: string;
  readonly binding: string;
  readonly agent: string;
  readonly by: string | null;
  readonly reason: string | null;
}

export interface SessionBody {
  readonly kind: 'connect' | 'disconnect';
  readonly sessionId: string;
  readonly agent: string;
  readonly database: string;
  readonly note: string | null;
}

export interface AdminBody {
  readonly kind: 'admin';
  readonly what: 'start' | 'stop' | 'agent-added' | 'agent-rotated' | 'agent-revoked' | 'operator-added' | 'login-refused' | 'harden' | 'hardened' | 'harden-failed' | 'orphans-purged';
  readonly by: string;
  readonly subject: string;
  readonly note: string | null;
}

/** Which policy is in force, or that one was refused and the old one stays. */
export interface PolicyBody {
  readonly kind: 'policy';
  readonly change: 'in-force' | 'refused';
  readonly trigger: 'start' | 'file' | 'signal';
  readonly policyName: string;
  readonly policyHash: string;
  readonly previousHash: string | null;
  /** The mistakes of one that was refused. */
  readonly note: string | null;
}

/** What undoes these actions was read back, before their transaction could commit. */
export interface SealedBody {
  readonly kind: 'recovery-point';
  readonly change: 'sealed';
  readonly recoveryPointId: string;
  readonly actionIds: readonly string[];
  readonly agent: string;
  readonly database: string;
  readonly scope: Recoverability;
  readonly method: CaptureMethod;
  /** The object, and the SHA-256 of its line: these vouch for all that the manifest names. */
  readonly pack: string;
  readonly line: string;
  readonly rows: number;
  readonly bytes: number;
  readonly xid: string;
}

/** What became of it afterwards, but for what the outcomes of its actions say already. */
export interface RecoveryPointBody {
  readonly kind: 'recovery-point';
  /** `committed`, `discarded`: found out by asking the server, or after its undo was undone. */
  readonly change: 'committed' | 'discarded' | 'undone' | 'purged';
  readonly recoveryPointId: string;
  readonly actionIds: readonly string[];
  readonly by: string;
  readonly note: string | null;
}

export type EntryBody = VerdictBody | OutcomeBody | ReadsBody | ApprovalBody | SessionBody | AdminBody | PolicyBody | SealedBody | RecoveryPointBody;

export interface Entry {
  /** From 1, without gaps. */
  readonly seq: number;
  /** ISO 8601, milliseconds, UTC. */
  readonly at: string;
  readonly body: EntryBody;
  /** sha256, hex. */
  readonly hash: string;
}

/** As the store keeps it: the body still as its canonical text. */
export interface StoredEntry { readonly seq: number; readonly at: string; readonly kind: string; readonly body: string; readonly hash: string }
export interface Head { readonly seq: number; readonly hash: string }

/** What the first entry follows. */
export const genesis: Head = { seq: 0, hash: '0'.repeat(64) };

const domain = 'backstop-ledger-entry-1';

/** A body with its canonical text. */
export interface WrittenBody { readonly entry: EntryBody; readonly text: string }

/** Throws Bug when the body has no canonical form. */
export function writeBody(entry: EntryBody): WrittenBody { return { entry, text: canonicalJson(entry) }; }

export function chainEntry(previous: Head, at: string, { entry: { kind }, text }: WrittenBody): StoredEntry {
  const seq = previous.seq + 1;
  return { seq, at, kind, body: text, hash: hashOf(previous.hash, seq, at, kind, text) };
}

/** Every field is framed by canonical JSON, so no two entries share an input. */
function hashOf(previousHash: string, seq: number, at: string, kind: string, body: string): string {
  return sha256Hex(canonicalJson([domain, previousHash, seq, at, kind, body]));
}

export interface BrokenEntry { readonly seq: number; readonly why: string }

/** The head after `entry`, or why it does not follow `previous`. */
export function checkEntry(previous: Head, entry: StoredEntry): { readonly kind: 'follows'; readonly head: Head } | { readonly kind: 'broken'; readonly broken: BrokenEntry } {
  if (entry.seq !== previous.seq + 1) {
    return { kind: 'broken', broken: { seq: previous.seq + 1, why: `entry ${previous.seq + 1} is missing; the next one is ${entry.seq}` } };
  }
  const isText = [entry.at, entry.kind, entry.body].every((part) => typeof part === 'string' && part.isWellFormed());
  if (!isText || hashOf(previous.hash, entry.seq, entry.at, entry.kind, entry.body) !== entry.hash) {
    return { kind: 'broken', broken: { seq: entry.seq, why: 'its content does not match its hash' } };
  }
  return { kind: 'follows', head: { seq: entry.seq, hash: entry.hash } };
}

/** Why the chain that ends in `last` is not the one that `head` was kept for. */
export function checkHead(last: Head, head: Head): BrokenEntry | undefined {
  if (last.seq < head.seq) return { seq: last.seq + 1, why: `entries ${last.seq + 1} to ${head.seq} are missing at the end` };
  if (last.seq > head.seq) return { seq: head.seq + 1, why: 'entries stand after the recorded head' };
  return last.hash === head.hash ? undefined : { seq: last.seq, why: 'the recorded head has another hash' };
}
