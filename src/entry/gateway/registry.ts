/**
 * The names of one session: prepared statements and portals, with the statements they stand for. SQL PREPARE and wire
 * Parse share one name space, and so do DECLARE and wire Bind (H10, H11). Changes are made when they are judged, before
 * the server confirmed them; each returns how to undo it, and the undos run in reverse when the server fails. A name too
 * many is harmless (the server knows no such name), a name with the wrong statement is not: so a change always overwrites.
 */
import { Failure } from '../../core/failure.ts';
import { nameCount } from '../../core/sql/mentions.ts';
import type { SessionChange, Statement } from '../../core/sql/statement.ts';
import type { BindMessage } from '../../lib/pgwire/frontend-decode.ts';
import type { PlannedNames } from './planned-names.ts';
import { bytesPerName, gatewayLimitsDefault, namedBytesMax, treeBytesPerCharacter } from './limits.ts';

export interface Prepared {
  /** The text of the message that prepared it, as pg_prepared_statements shows it. */
  readonly source: string;
  /** undefined: the empty query. */
  readonly statement: Statement | undefined;
  readonly parameterTypes: readonly number[];
  /** Absent for what SQL prepared, which was judged as a whole then. */
  readonly names?: PlannedNames;
}

export interface Portal<U = unknown> {
  readonly source: string;
  readonly statement: Statement | undefined;
  /** Absent for a cursor that SQL declared. */
  readonly bind?: { readonly prepared: Prepared; readonly values: Pick<BindMessage, 'formats' | 'values'> };
  /** What its names may mean to the server; absent as there. */
  readonly names?: PlannedNames;
  /** Of the values that the DECLARE of a cursor was bound to. */
  readonly boundDigest?: string | undefined;
  /** Which names and relations held when it was planned; see SessionState.epoch. */
  readonly epoch: number;
  /** DECLARE … WITH HOLD. */
  readonly hold: boolean;
  /** Its transaction has committed, so it outlives the next rollback. */
  committed: boolean;
  /** What was permitted when it was first executed: executing it on is the same action (H85). */
  running?: U;
}

export type Undo = () => void;
export const nothingToUndo: Undo = () => {};

export class Registry<U = unknown> {
  readonly #prepared = new Map<string, Prepared>();
  readonly #portals = new Map<string, Portal<U>>();
  /** The same names as core reads them; kept in step so that no judgement has to build them. */
  readonly preparedStatements = new Map<string, Statement>();
  readonly cursors = new Map<string, Statement>();
  readonly #namesMax: number;
  #bytes = 0;

  constructor(namesMax: number = gatewayLimitsDefault.namesMax) {
    this.#namesMax = namesMax;
  }

  /** What they hold in memory, roughly. */
  get bytes(): number { return this.#bytes; }
  prepared(name: string): Prepared | undefined { return this.#prepared.get(name); }
  portal(name: string): Portal<U> | undefined { return this.#portals.get(name); }

  /** Throws Failure too_large. */
  prepare(name: string, entry: Prepared): Undo {
    if (!this.#prepared.has(name)) this.#checkNames(this.#prepared.size, 1, 'prepared statements');
    this.#checkBytes(bytesOf(entry));
    return this.#setPrepared(name, entry);
  }

  /** '' is the unnamed statement; null: all. */
  deallocate(name: string | null): Undo {
    const names = name === null ? [...this.#prepared.keys()] : [name];
    return together(names.map((one) => this.#setPrepared(one, undefined)));
  }

  open(name: string, portal: Portal<U>): Undo {
    if (!this.#portals.has(name)) this.#checkNames(this.#portals.size, 1, 'portals and cursors');
    this.#checkBytes(bytesOf(portal));
    return this.#setPortal(name, portal);
  }

  /** Closing all leaves the portal that runs this, as the server does. */
  close(name: string | null, running?: Portal<U>): Undo {
    const names = name === null ? [...this.#portals].flatMap(([one, portal]) => (portal === running ? [] : [one])) : [name];
    return together(names.map((one) => this.#setPortal(one, undefined)));
  }

  /** What a statement does to the names, once it has run; `running`: the portal that runs it, `boundDigest`: of its values. */
  apply(changes: readonly SessionChange[], source: string, epoch: number, running?: Portal<U>, boundDigest?: string): Undo {
    const undos: Undo[] = [];
    for (const change of changes) {
      switch (change.kind) {
        case 'prepare': undos.push(this.prepare(change.name, { source, statement: change.body, parameterTypes: [] })); break;
        case 'deallocate': undos.push(this.deallocate(change.name)); break;
        case 'declare':
          undos.push(this.open(change.name, { source, statement: change.body, boundDigest, epoch, hold: change.hold, committed: false }));
          break;
        case 'close': undos.push(this.close(change.name, running)); break;
        default: break;
      }
    }
    return undos.length === 0 ? nothingToUndo : together(undos);
  }

  /** Before statements are sent that would make names by themselves. Throws Failure too_large. */
  checkRoomFor(statements: readonly Statement[], source: string): void {
    if (statements.every(({ changes }) => changes.length === 0)) return;
    const makes = (kind: SessionChange['kind']): number => statements.reduce((sum, { changes }) => sum + changes.filter((change) => change.kind === kind).length, 0);
    const [prepares, declares] = [makes('prepare'), makes('declare')];
    if (prepares > 0) this.#checkNames(this.#prepared.size, prepares, 'prepared statements');
    if (declares > 0) this.#checkNames(this.#portals.size, declares, 'portals and cursors');
    if (prepares + declares > 0) this.#checkBytes((prepares + declares) * source.length * treeBytesPerCharacter);
  }

  /** A simple Query takes the unnamed statement away before it is looked at, and the unnamed portal when it runs. */
  beginQuery(mayRun: boolean): void {
    this.#setPrepared('', undefined);
    if (mayRun) this.#setPortal('', undefined);
  }

  /** Portals end with their transaction; only a cursor WITH HOLD outlives its commit, and then every later end. */
  transactionEnded(how: 'committed' | 'rolled-back'): void {
    for (const [name, portal] of this.#portals) {
      if (portal.hold && (portal.committed || how === 'committed')) portal.committed = true;
      else this.#setPortal(name, undefined);
    }
  }

  /**
   * Keeps only what the server itself reports (pg_prepared_statements, pg_cursors): code that nobody read may have
   * prepared something else under a known name. The unnamed ones are not reported and are forgotten.
   */
  keepOnly(reported: { readonly prepared: ReadonlyMap<string, string>; readonly portals: ReadonlyMap<string, string> }): void {
    for (const [name, { source }] of this.#prepared) if (reported.prepared.get(name) !== source) this.#setPrepared(name, undefined);
    for (const [name, { source }] of this.#portals) if (reported.portals.get(name) !== source) this.#setPortal(name, undefined);
  }

  #setPrepared(name: string, entry: Prepared | undefined): Undo {
    const before = this.#prepared.get(name);
    if (before === entry) return nothingToUndo;
    put(this.#prepared, name, entry);
    this.#bytes += bytesOf(entry) - bytesOf(before);
    // SQL has no name for the unnamed statement.
    if (name !== '') put(this.preparedStatements, name, entry?.statement);
    return () => { this.#setPrepared(name, before); };
  }

  #setPortal(name: string, portal: Portal<U> | undefined): Undo {
    const before = this.#portals.get(name);
    if (before === portal) return nothingToUndo;
    put(this.#portals, name, portal);
    this.#bytes += bytesOf(portal) - bytesOf(before);
    if (name !== '') put(this.cursors, name, portal?.statement);
    return () => { this.#setPortal(name, before); };
  }

  #checkNames(size: number, more: number, what: string): void {
    if (size + more <= this.#namesMax) return;
    throw new Failure('too_large', `This session already holds ${size} ${what}; ${this.#namesMax} are allowed.`, { hint: closeSome });
  }

  #checkBytes(more: number): void {
    if (this.#bytes + more <= namedBytesMax) return;
    throw new Failure('too_large', `The prepared statements and portals of this session would take more than ${namedBytesMax} bytes.`, { hint: closeSome });
  }
}

const closeSome = 'Close or DEALLOCATE some of them, or DISCARD ALL.';

/** A portal shares the tree of its statement, unless SQL declared it. */
function bytesOf(entry: Prepared | Portal | undefined): number {
  if (entry === undefined) return 0;
  if (!('bind' in entry) || entry.bind === undefined) return entry.source.length * treeBytesPerCharacter + (entry.statement === undefined ? 0 : nameCount(entry.statement.mentions) * bytesPerName);
  return entry.bind.values.values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
}

function put<T>(map: Map<string, T>, name: string, value: T | undefined): void {
  if (value === undefined) map.delete(name);
  else map.set(name, value);
}

function together(undos: readonly Undo[]): Undo {
  return undos.length === 1 ? undos[0] ?? nothingToUndo : () => { for (const undo of undos.toReversed()) undo(); };
}
