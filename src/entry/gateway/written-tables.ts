/**
 * Which tables the open transaction of a session may have written, as far as what was let through says. Nobody else can see
 * such changes yet, so what touches one of those tables cannot be counted from another connection.
 */
import type { Risk } from '../../core/risk.ts';
import { isAtLeast } from '../../core/risk.ts';

const writing: ReadonlySet<string> = new Set(['insert', 'update', 'delete', 'truncate', 'create', 'alter', 'drop']);

export class WrittenTables {
  #tables: Set<string> | undefined = new Set();

  /** undefined: any. */
  get tables(): ReadonlySet<string> | undefined { return this.#tables; }

  letThrough({ level, effects }: Risk): void {
    if (!isAtLeast(level, 'LOW')) return;
    for (const { kind, object } of effects) {
      if (kind === 'call' || kind === 'unknown' || (writing.has(kind) && object === undefined)) this.#tables = undefined;
      else if (writing.has(kind) && object !== undefined) this.#tables?.add(object);
    }
  }

  transactionEnded(): void {
    if (this.#tables?.size !== 0) this.#tables = new Set();
  }
}
