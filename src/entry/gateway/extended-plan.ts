/**
 * Plans an extended batch: Parse must be readable, Bind must name a statement that is known, and each Execute is one
 * action that the guard admits or refuses. What comes later in the batch is judged as if what comes before had run.
 */
import { joinRisks, nothing, type Risk } from '../../core/risk.ts';
import { Failure } from '../../core/failure.ts';
import type { Statement } from '../../core/sql/statement.ts';
import {
  decodeFrontend, type BindMessage, type CloseMessage, type DescribeMessage, type ExecuteMessage, type ParseMessage,
} from '../../lib/pgwire/frontend-decode.ts';
import { headerBytes, type Frame } from '../../lib/pgwire/frame-reader.ts';
import { sqlBytesMax } from '../../lib/pgsql/parser.ts';
import { frontendType } from '../../lib/pgwire/message-type.ts';
import { endsTransaction, type Admission, type Candidate } from './admission.ts';
import type { SessionContext } from './context.ts';
import { digestOf } from './digest.ts';
import type { Unit } from './fate.ts';
import { refuseForeignNames } from './foreign-names.ts';
import { withDoubt, type Setting } from './judgements.ts';
import { firstUserOid, quoteIdentifier } from './oid-names.ts';
import { cutPlan, type Plan } from './plan.ts';
import { namedBefore, PlannedNames } from './planned-names.ts';
import { ownErrors, refusalOf, SyntaxRefusal } from './refuse.ts';
import { nothingToUndo, type Portal, type Prepared, type Undo } from './registry.ts';
import type { Expected } from './expected.ts';
import { runsUnreadCode } from './session-state.ts';

/** A message that may go on, or the error in its place. */
type Step = Expected | Refused;
interface Refused { readonly kind: 'refused'; readonly error: Buffer; readonly isAborted?: boolean }

export class ExtendedPlan {
  readonly #context: SessionContext;
  readonly #admission: Admission;
  readonly #frames: readonly Frame[];
  readonly #newSetting: () => Setting;
  readonly #expected: Expected[] = [];
  /** Where to cut when the Execute of a portal is refused, as long as none stands behind its Bind. */
  readonly #cutAt = new Map<string, number>();
  /** Message numbers of statements whose Parse may run code, and goes on only with its own Bind and Execute. */
  readonly #parseAt = new Map<string, number>();
  /** Something that nobody read runs earlier in this batch. */
  #isInDoubt = false;
  /** A transaction that has failed is over, or taken back, by then. */
  #isRevived = false;

  constructor(context: SessionContext, admission: Admission, frames: readonly Frame[], newSetting: () => Setting) {
    this.#context = context;
    this.#admission = admission;
    this.#frames = frames;
    this.#newSetting = newSetting;
  }

  /** Waits only where a person or the server must be asked. `skipped`: permits that a refusal leaves unused. */
  make(skipped: (unit: Unit) => void): Plan | Promise<Plan> {
    return this.#makeFrom(0, skipped);
  }

  #makeFrom(start: number, skipped: (unit: Unit) => void): Plan | Promise<Plan> {
    for (let at = start; at < this.#frames.length; at += 1) {
      const step = this.#tryStep(at);
      if (step instanceof Promise) return step.catch(refusedBy).then((ready) => this.#append(ready, at, skipped) ?? this.#makeFrom(at + 1, skipped));
      const cut = this.#append(step, at, skipped);
      if (cut !== undefined) return cut;
    }
    return { frames: this.#frames, expected: this.#expected, refusal: undefined };
  }

  /** The plan, if this is where it ends. */
  #append(step: Step, at: number, skipped: (unit: Unit) => void): Plan | undefined {
    // In a failed transaction the server refuses the Bind itself, and says what is wrong with it.
    if (step.kind === 'refused') return cutPlan(this.#frames, this.#expected, step.isAborted === true ? at : this.#cutFor(at), step.error, skipped);
    this.#expected.push(step);
    return undefined;
  }

  #tryStep(at: number): Step | Promise<Step> {
    const frame = this.#frames[at];
    try {
      return frame === undefined ? { kind: 'describe' } : this.#step(frame, at);
    } catch (error) {
      return refusedBy(error);
    }
  }

  #step(frame: Frame, at: number): Step | Promise<Step> {
    const message = decodeFrontend(frame);
    switch (message.kind) {
      case 'parse': return this.#parse(message, at);
      case 'bind': return this.#bind(ownValues(message, frame), at);
      case 'describe': return this.#describe(message);
      case 'close': return this.#close(message);
      case 'execute': return this.#execute(message);
      default: throw new Failure('protocol_violation', `Backstop did not expect a ${message.kind} message here.`);
    }
  }

  /** Readable, or refused here; its verdict falls at Execute, where the values are known. */
  #parse(message: ParseMessage, at: number): Step {
    refuseForeignNames(message.sql, this.#context.serverEncoding);
    const setting = this.#newSetting();
    const { assessment } = this.#context.judgements.judge(message.sql, setting);
    // Whatever becomes of a Parse without a name, the statement without a name before it is gone.
    if (message.statement === '' && (assessment.error !== undefined || assessment.statements.length > 1)) this.#context.registry.deallocate('');
    if (assessment.error !== undefined) throw unreadable(message.sql, assessment.error, this.#context);
    if (assessment.statements.length > 1) throw new Failure('statement_unreadable', 'cannot insert multiple commands into a prepared statement');
    const names = new PlannedNames();
    const prepared: Prepared = { source: message.sql, statement: assessment.statements[0]?.statement, parameterTypes: message.parameterTypes, names };
    names.note(this.#riskOf(prepared, setting), setting);
    this.#parseAt.delete(message.statement);
    if (!this.#mayParseAlone(prepared, setting)) {
      if (!this.#isExecutedNext(message.statement, at)) throw notAlone('parse', 'parsing');
      this.#parseAt.set(message.statement, at);
    }
    return { kind: 'parse', undo: this.#context.registry.prepare(message.statement, prepared) };
  }

  /** A literal that becomes a value of a user's type runs that type's code already when it is parsed. */
  #mayParseAlone(prepared: Prepared, setting: Setting): boolean {
    const portal: Portal<Unit> = { source: prepared.source, statement: prepared.statement, epoch: this.#context.state.epoch, hold: false, committed: false };
    if (prepared.statement === undefined || !runsUnreadCode(prepared.statement, this.#riskOf(portal, setting))) return true;
    return !this.#context.judgements.mayRunWhenParsed(setting) || this.#admission.wouldAllow(this.#candidateWith(portal, 0, []));
  }

  #bind(message: BindMessage, at: number): Step | Promise<Step> {
    const prepared = this.#context.registry.prepared(message.statement);
    if (prepared === undefined) return { kind: 'refused', error: ownErrors.unknownStatement(message.statement) };
    const portal: Portal<Unit> = {
      source: prepared.source, statement: prepared.statement, bind: { prepared, values: message }, names: this.#namesOf(prepared),
      epoch: this.#context.state.epoch, hold: false, committed: false,
    };
    const undo = this.#context.registry.open(message.portal, portal);
    const step: Step = { kind: 'bind', undo };
    this.#cutAt.set(message.portal, this.#parseAt.get(message.statement) ?? at);
    // Had another Bind or Execute stood between, this one would stay behind when its own Execute is refused.
    if (this.#executesNext(message.portal, at)) return step;
    const decide = (candidate: Candidate): Step => {
      if (this.#mayPlanAlone(portal, candidate)) return step;
      undo();
      throw notAlone('bind', 'planning');
    };
    const candidate = this.#candidate(portal, 0);
    return candidate instanceof Promise ? candidate.then(decide) : decide(candidate);
  }

  /** The server keeps the names that it has found for the statement, or looks them up again now. */
  #namesOf(prepared: Prepared): PlannedNames {
    const setting = this.#newSetting();
    const now = this.#riskOf(prepared, setting);
    prepared.names?.note(now, setting);
    const names = new PlannedNames();
    names.note(prepared.names?.with(now, setting) ?? now, setting);
    return names;
  }

  /** The planner may run functions, so a Bind without its Execute is judged as if it ran, unless it reaches no code. */
  #mayPlanAlone({ statement }: Portal<Unit>, candidate: Candidate): boolean {
    if (statement === undefined || !runsUnreadCode(statement, candidate.riskUnder(candidate.setting))) return true;
    return this.#admission.wouldAllow(candidate);
  }

  /** The server may still have the unnamed statement that a Query took away which it never saw. */
  #describe({ target, name }: DescribeMessage): Step {
    const prepared = target === 'portal' ? undefined : this.#context.registry.prepared(name);
    if (prepared !== undefined) this.#namesOf(prepared);
    if (target === 'portal' || prepared !== undefined) return { kind: 'describe' };
    return { kind: 'refused', error: ownErrors.unknownStatement(name) };
  }

  #close(message: CloseMessage): Step {
    const { registry } = this.#context;
    // Its Bind stands: an Execute that comes now is refused alone.
    if (message.target === 'portal') this.#cutAt.delete(message.name);
    return { kind: 'close', undo: message.target === 'statement' ? registry.deallocate(message.name) : registry.close(message.name) };
  }

  #execute(message: ExecuteMessage): Step | Promise<Step> {
    const step = this.#executed(message);
    if (message.rowsMax === 0) return step;
    const limited = (one: Step): Step => (one.kind === 'execute' ? { ...one, rowsMax: message.rowsMax } : one);
    return step instanceof Promise ? step.then(limited) : limited(step);
  }

  #executed(message: ExecuteMessage): Step | Promise<Step> {
    const portal = this.#context.registry.portal(message.portal);
    if (portal === undefined) return { kind: 'refused', error: ownErrors.unknownPortal(message.portal) };
    if (portal.running !== undefined) return this.#expectExecute(portal, portal.running, nothing, undefined);
    const candidate = this.#candidate(portal, message.rowsMax);
    if (candidate instanceof Promise) return candidate.then((ready) => this.#admit(portal, ready));
    return this.#admit(portal, candidate);
  }

  #admit(portal: Portal<Unit>, candidate: Candidate): Step | Promise<Step> {
    const admitted = this.#admission.admit(candidate);
    if (admitted instanceof Promise) {
      return admitted.then((result) => (result.kind === 'refused' ? result : this.#expectExecute(portal, result.unit, result.risk, candidate)));
    }
    return admitted.kind === 'refused' ? admitted : this.#expectExecute(portal, admitted.unit, admitted.risk, candidate);
  }

  #expectExecute(portal: Portal<Unit>, unit: Unit, risk: Risk, candidate: Candidate | undefined): Expected {
    const part = candidate === undefined ? undefined : { candidate, risk };
    portal.running = unit;
    this.#cutAt.clear();
    this.#parseAt.clear();
    const { statement } = portal;
    if (statement === undefined) return { kind: 'execute', unit, undo: nothingToUndo, part };
    this.#isInDoubt ||= runsUnreadCode(statement, risk);
    this.#isRevived ||= endsTransaction(statement);
    const undoNames = this.#context.registry.apply(statement.changes, portal.source, this.#context.state.epoch, portal, boundDigestOf(portal));
    this.#context.state.letThrough(statement, risk);
    // Skipped behind an error, it has not begun: its portal may outlive that, and is then judged when it is executed.
    const undo: Undo = part === undefined ? undoNames : () => { undoNames(); delete portal.running; };
    return { kind: 'execute', unit, undo, part };
  }

  #candidate(portal: Portal<Unit>, rowsMax: number): Candidate | Promise<Candidate> {
    const userTypes = portal.bind?.prepared.parameterTypes.filter((oid) => oid >= firstUserOid) ?? [];
    return userTypes.length === 0 ? this.#candidateWith(portal, rowsMax, []) : this.#withUserTypes(portal, rowsMax, userTypes);
  }

  /** A parameter of a user's type is a cast to that type: its input function and its checks run (H22, H23). */
  async #withUserTypes(portal: Portal<Unit>, rowsMax: number, oids: readonly number[]): Promise<Candidate> {
    const { oids: known, database, judging } = this.#context;
    const names = await judging.unlessStopped(Promise.all(oids.map((oid) => known.typeNamed(database, oid))));
    const casts = names.map((type) => {
      if (type === undefined) throw new Failure('statement_unreadable', 'A parameter has a type that the database does not know.');
      return `SELECT NULL::${quoteIdentifier(type.schema)}.${quoteIdentifier(type.name)}`;
    });
    return this.#candidateWith(portal, rowsMax, casts);
  }

  #candidateWith(portal: Portal<Unit>, rowsMax: number, casts: readonly string[]): Candidate {
    const setting = this.#settingOf(portal);
    const [isInDoubt, isRevived] = [this.#isInDoubt, this.#isRevived];
    const { assessment, redacted, fingerprint } = this.#context.judgements.judge(portal.source, setting);
    if (assessment.error !== undefined) throw unreadable(portal.source, assessment.error, this.#context);
    const ofPortal = (under: Setting): Risk => {
      const now = this.#riskOf(portal, under);
      const own = joinRisks(portal.names?.with(now, under) ?? now, portal.statement === undefined ? nothing : namedBefore(portal.statement, this.#context, under));
      const all = casts.map((cast) => this.#context.judgements.judge(cast, under).assessment.risk);
      return all.reduce(joinRisks, isInDoubt ? withDoubt(own) : own);
    };
    const statements = portal.statement === undefined ? [] : [portal.statement];
    return {
      text: portal.source, facts: { redacted: shownWith(redacted, statements, this.#context), fingerprint }, statements,
      digest: this.#digestOf(portal, rowsMax), setting, isRevived, ...bindOf(portal), riskUnder: ofPortal,
    };
  }

  #riskOf({ statement }: Pick<Prepared, 'statement'>, setting: Setting): Risk {
    return statement === undefined ? nothing : this.#context.judgements.judgeStatement(statement, setting);
  }

  /** Names were resolved at Bind. If they may resolve otherwise by now, which of the two runs is not known. */
  #settingOf(portal: Portal<Unit>): Setting {
    const setting = this.#newSetting();
    return portal.epoch === this.#context.state.epoch ? setting : { ...setting, isPlain: false, facts: { ...setting.facts, searchPath: null } };
  }

  #digestOf(portal: Portal<Unit>, rowsMax: number): string {
    const { bind } = portal;
    return digestOf({
      sql: portal.source, rowsMax, bodies: bodiesOf(portal.statement === undefined ? [] : [portal.statement], this.#context),
      ...(bind === undefined ? {} : { parameterTypes: bind.prepared.parameterTypes, formats: bind.values.formats, values: bind.values.values }),
    });
  }

  /** Nothing but Describe stands between a Bind and the Execute of its portal. */
  #executesNext(portal: string, at: number): boolean {
    const next = this.#following(at);
    return next?.frame.type === frontendType.execute && startsWith(next.frame, portal);
  }

  /** The same between a Parse, a Bind of its statement, and the Execute of that. */
  #isExecutedNext(statement: string, at: number): boolean {
    const next = this.#following(at);
    const bind = next?.frame.type === frontendType.bind ? decodeFrontend(next.frame) : undefined;
    return next !== undefined && bind?.kind === 'bind' && bind.statement === statement && this.#executesNext(bind.portal, next.at);
  }

  #following(at: number): { readonly frame: Frame; readonly at: number } | undefined {
    let next = at + 1;
    while (this.#frames[next]?.type === frontendType.describe) next += 1;
    const frame = this.#frames[next];
    return frame === undefined ? undefined : { frame, at: next };
  }

  /** Where to cut for a refusal at message `at`: at the Bind of the refused Execute, or at a Parse that may run code. */
  #cutFor(at: number): number {
    const parses = [...this.#parseAt.values()];
    const frame = this.#frames[at];
    if (frame?.type !== frontendType.execute) return Math.min(at, ...parses);
    const name = frame.body.subarray(0, frame.body.indexOf(0)).toString('utf8');
    return Math.min(this.#cutAt.get(name) ?? at, ...parses);
  }
}

/** A portal would keep all of the chunk that its few bytes came in. */
function ownValues(message: BindMessage, { bytes, length }: Frame): BindMessage {
  return bytes.length <= 2 * length ? message : { ...message, values: message.values.map((value) => (value === null ? null : Buffer.from(value))) };
}

/** The message names this portal, in its first field. */
function startsWith(frame: Frame, portal: string): boolean {
  if (portal !== '') return frame.body.indexOf(Buffer.from(`${portal}\0`)) === 0;
  return frame.length > headerBytes && frame.bytes[frame.start + headerBytes] === 0;
}

function refusedBy(error: unknown): Refused {
  return { kind: 'refused', error: refusalOf(error) };
}

/** undefined: there are no values. */
function boundDigestOf({ bind }: Portal<Unit>): string | undefined {
  if (bind === undefined || bind.values.values.length === 0) return undefined;
  return digestOf({ sql: '', parameterTypes: bind.prepared.parameterTypes, formats: bind.values.formats, values: bind.values.values });
}

function bindOf({ bind }: Portal<Unit>): Pick<Candidate, 'bind'> {
  return bind === undefined ? {} : { bind: { parameterTypes: bind.prepared.parameterTypes, formats: bind.values.formats, values: bind.values.values } };
}

function notAlone(what: string, running: string): Failure {
  return new Failure('statement_denied', `Backstop refuses to ${what} this statement without executing it in the same batch: ${running} it can run its functions.`, {
    hint: 'Send Parse, Bind and Execute together, followed by Sync, or use the simple query protocol.',
  });
}

/** What statements run by name, for the digest: texts, and the values that a portal was bound to. A name that is not known is refused by the judgement. */
export function bodiesOf(statements: readonly Statement[], { registry }: Pick<SessionContext, 'registry'>): readonly string[] {
  return statements.flatMap(({ runs }) => {
    if (runs === undefined) return [];
    if (runs.kind === 'prepared') return [registry.prepared(runs.name)?.statement?.text ?? ''];
    const portal = registry.portal(runs.name);
    const values = portal?.boundDigest ?? (portal === undefined ? undefined : boundDigestOf(portal));
    return [portal?.statement?.text ?? '', ...(values === undefined ? [] : [values])];
  });
}

/** A statement that runs another by its name tells nothing without it. */
export function shownWith(redacted: string, statements: readonly Statement[], { registry, judgements }: Pick<SessionContext, 'registry' | 'judgements'>): string {
  const bodies = statements.flatMap(({ runs }) => {
    const body: Prepared | Portal<Unit> | undefined = runs === undefined ? undefined : runs.kind === 'prepared' ? registry.prepared(runs.name) : registry.portal(runs.name);
    return runs === undefined || body?.statement === undefined ? [] : [`[${runs.name} runs: ${judgements.redacted(body.statement.text)}]`];
  });
  return [redacted, ...bodies].join(' ');
}

export function unreadable(sql: string, message: string, { judgements }: Pick<SessionContext, 'judgements'>): Failure | SyntaxRefusal {
  const syntax = judgements.syntaxErrorOf(sql);
  if (syntax !== undefined) return new SyntaxRefusal(syntax);
  if (Buffer.byteLength(sql) > sqlBytesMax) return new Failure('too_large', `Backstop reads statements of up to ${sqlBytesMax} bytes; this one is longer, so it was not sent.`);
  return new Failure('statement_unreadable', `Backstop cannot read this statement, so it was not sent: ${message}`);
}
