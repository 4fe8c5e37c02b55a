/**
 * A stranger's reading of the record after each kill: it only ever grows, verifies as a whole, and accounts for every row
 * that exists and for everything that anybody was told.
 */
import assert from 'node:assert/strict';
import type { EntryBody } from '../../../src/core/ledger/entry.ts';
import type { Memory } from '../../../src/app/memory.ts';
import type { PostgresServer } from '../../fixtures/postgres-server.ts';
import type { Told } from './load.ts';

const pageEntries = 5_000;

export class RecordReader {
  readonly #memory: Memory;
  #seq = 0;
  /** When the first permission of each numbered statement was on record, and the approval it used. */
  readonly #allowed = new Map<number, { readonly at: number; readonly approvalId: string | null; readonly actionId: string }>();
  readonly #denied = new Set<number>();
  readonly #asked = new Set<string>();
  readonly #answered = new Set<string>();
  readonly #used = new Map<string, number>();
  readonly #open = new Set<string>();

  constructor(memory: Memory) { this.#memory = memory; }

  get entries(): number { return this.#seq; }
  get permitted(): number { return this.#allowed.size; }

  /** Right after start-up, before any client: nothing of the last run is left open. */
  async checkSettled(): Promise<void> {
    await this.#readOn();
    const left = await this.#memory.database.queries.selectFrom('open_permit').selectAll().execute();
    assert.deepEqual(left, [], 'permits without an outcome after start-up');
    assert.deepEqual([...this.#open], [], 'allowed on record, and without an outcome on record after start-up');
    const { broken, entries } = await this.#memory.ledger.verify();
    assert.equal(broken, undefined);
    assert.ok(entries >= this.#seq);
  }

  async checkRows(server: PostgresServer): Promise<number> {
    await this.#readOn();
    // What is written in a transaction block may run ahead of its record, and only its commit counts.
    const rows = await server.run(`SELECT n, extract(epoch FROM at) * 1000 AS at, false AS held FROM written
      UNION ALL SELECT n, extract(epoch FROM at) * 1000, true FROM held
      UNION ALL SELECT n, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000, false FROM together`, 'shop');
    for (const row of rows) {
      const n = Number(row['n']);
      const allowed = this.#allowed.get(n);
      assert.ok(allowed !== undefined, `row ${n} exists, and nothing on record permits it`);
      assert.ok(allowed.at <= Number(row['at']), `row ${n} was written before its permission was on record`);
      assert.equal(allowed.approvalId !== null, row['held'] === true, `row ${n}`);
      if (allowed.approvalId !== null) assert.ok(this.#answered.has(allowed.approvalId), `row ${n} needed an answer`);
    }
    return rows.length;
  }

  checkTold({ written, refused, held }: Told, answers: ReadonlySet<string>): void {
    for (const n of written) assert.ok(this.#allowed.has(n), `statement ${n} succeeded, and its verdict is lost`);
    for (const n of refused) assert.ok(this.#denied.has(n), `statement ${n} was refused, and its verdict is lost`);
    for (const id of held) assert.ok(this.#asked.has(id), `a client was told to wait for ${id}, which is lost`);
    for (const id of answers) assert.ok(this.#answered.has(id), `the answer to ${id} is lost`);
    for (const [id, times] of this.#used) assert.equal(times, 1, `${id} was used more than once`);
  }

  async #readOn(): Promise<void> {
    for (;;) {
      const page = await this.#memory.ledger.entriesAfter(this.#seq, pageEntries);
      for (const { seq, at, body } of page) {
        assert.equal(seq, this.#seq + 1);
        this.#seq = seq;
        this.#take(Date.parse(at), JSON.parse(body) as EntryBody);
      }
      if (page.length < pageEntries) return;
    }
  }

  #take(at: number, body: EntryBody): void {
    switch (body.kind) {
      case 'verdict': {
        const n = Number(/\bn_(\d+)\b/.exec(body.text)?.[1]);
        if (body.decision === 'allow') this.#open.add(body.actionId);
        if (body.decision === 'allow' && !this.#allowed.has(n)) this.#allowed.set(n, { at, approvalId: body.approvalId, actionId: body.actionId });
        if (body.decision === 'deny') this.#denied.add(n);
        break;
      }
      case 'outcome': this.#open.delete(body.actionId); break;
      case 'reads': for (const [, , actionId, , , outcome] of body.reads) if (outcome === 'open') this.#open.add(actionId); break;
      case 'approval':
        if (body.change === 'requested') this.#asked.add(body.approvalId);
        if (body.change === 'approved') this.#answered.add(body.approvalId);
        if (body.change === 'used') this.#used.set(body.approvalId, (this.#used.get(body.approvalId) ?? 0) + 1);
        break;
      default: break;
    }
  }
}
