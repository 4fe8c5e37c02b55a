/**
 * Captures whatever statements change in some tables, by whatever means, as the transition tables of triggers show it. Before:
 * the tables are locked against other writers, looked at again behind the lock, and given triggers that gather. After: the rows
 * as they were and as they are now go to the draft, one table after the other. In the end the triggers go, as late as can be.
 * That no other table lost rows is counted: a trigger or foreign key may have come between the judgement and the lock.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '../../../core/failure.ts';
import { fingerprintOf, type KeptTable } from '../../../core/recovery/manifest.ts';
import type { QualifiedName } from '../../../core/sql/catalog-facts.ts';
import { lostElsewhereSql } from '../../../core/sql/changed-rows.ts';
import type { CapturedContents, RecoveryDraft } from '../../../flow/protect.ts';
import { ServerError } from '../server-error.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { readPlace, type Capture } from './capture.ts';
import { lostElsewhere, lostMore } from './lost-elsewhere.ts';
import { pinPrinting, type Printing } from './printing.ts';
import { arrayOf, checkHoles, readCapturedTables, type CapturedTable } from './tables.ts';
import { captureTransitions, type ImageQueries, type TransitionCapture } from './transitions.ts';

export interface TransitionsOptions {
  /** What is left of it is dropped by `finish`, and not by `after`: dropping a trigger keeps readers away until the transaction ends. */
  readonly isFinishedLater?: boolean;
}

/** `tables`: keys of the catalog, at least one. `draft`: where the images go. */
export function createTransitionsCapture(session: TransactionSession, tables: readonly QualifiedName[], draft: Pick<RecoveryDraft, 'rows'>, { isFinishedLater = false }: TransitionsOptions = {}): Capture {
  const capture = new TransitionsCapture(session, tables, draft);
  if (isFinishedLater) return capture;
  return {
    before: () => capture.before(),
    after: async () => {
      const contents = await capture.after();
      await capture.finish();
      return contents;
    },
  };
}

/** So much at a time do readers wait behind us, and so long do we let them go first; in the end the statement fails. */
const finishLockMs = 200;
const finishPauseMs = 200;
const finishTriesMax = 50;
const lockNotAvailable = '55P03';

class TransitionsCapture implements Capture {
  readonly #session: TransactionSession;
  readonly #names: readonly QualifiedName[];
  readonly #draft: Pick<RecoveryDraft, 'rows'>;
  readonly #mark = randomBytes(8).toString('hex');
  #tables: readonly CapturedTable[] = [];
  #capture: TransitionCapture | undefined;
  #lostBefore: number | undefined;

  constructor(session: TransactionSession, names: readonly QualifiedName[], draft: Pick<RecoveryDraft, 'rows'>) {
    this.#session = session;
    this.#names = names;
    this.#draft = draft;
  }

  async before(): Promise<void> {
    const printing = await pinPrinting(this.#session.query);
    const names = await this.#quotedNames();
    await this.#session.query(`LOCK TABLE ${names.toSorted().join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
    this.#tables = await readCapturedTables(this.#session.query, names);
    checkHoles(this.#tables);
    this.#capture = captureTransitions(this.#tables, this.#mark);
    await this.#run(this.#capture.begin);
    this.#lostBefore = await this.#lostElsewhere();
    await printing.restore();
  }

  async after(): Promise<CapturedContents> {
    const capture = this.#capture;
    if (capture === undefined) throw new Failure('internal', 'a capture is read that was not begun');
    const printing = await pinPrinting(this.#session.query);
    await this.#run(capture.pause);
    if (await this.#lostElsewhere() !== this.#lostBefore) throw lostMore();
    const contents = await this.#contents(capture, printing);
    await this.#run([capture.forget]);
    await printing.restore();
    return contents;
  }

  /** Whoever waits for the tables lets nobody who reads them in behind, so it waits for a moment only, and then again. */
  async finish(): Promise<void> {
    if (this.#capture === undefined) return;
    const { query } = this.#session;
    const savepoint = `backstop_${this.#mark}`;
    for (let tried = 1; ; tried += 1) {
      await query(`SAVEPOINT ${savepoint}`);
      try {
        const [row] = await query(`SELECT pg_catalog.current_setting('lock_timeout'), pg_catalog.set_config('lock_timeout', '${finishLockMs}', true)`);
        await this.#run(this.#capture.end);
        await query("SELECT pg_catalog.set_config('lock_timeout', $1, true)", [row?.[0] ?? '0']);
        await query(`RELEASE SAVEPOINT ${savepoint}`);
        return;
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== lockNotAvailable || tried === finishTriesMax) throw error;
        await query(`ROLLBACK TO SAVEPOINT ${savepoint}`);
        await query(`RELEASE SAVEPOINT ${savepoint}`);
        await pause(finishPauseMs);
      }
    }
  }

  #lostElsewhere(): Promise<number> {
    return lostElsewhere(this.#session.query, arrayOf(this.#tables.flatMap(({ name, partitions }) => [name, ...partitions])));
  }

  async #contents(capture: TransitionCapture, { settings }: Printing): Promise<CapturedContents> {
    const tables: KeptTable[] = [];
    for (const [index, table] of this.#tables.entries()) {
      const images = capture.images[index];
      const extent = images === undefined ? 'none' : (await this.#session.query(images.extent))[0]?.[0];
      // Most tables that a statement may reach it does not.
      if (images !== undefined && extent !== 'none') tables.push(await this.#kept(table, extent === 'each-once' ? { before: images.onceBefore, after: images.onceAfter } : images));
    }
    return { tables, settings, ...await readPlace(this.#session.query) };
  }

  async #kept({ name, columns, types, key, alwaysIdentity, partitions }: CapturedTable, images: Pick<ImageQueries, 'before' | 'after'>): Promise<KeptTable> {
    const shape = { name, columns, types, key, alwaysIdentity, partitions };
    const [before, after] = [this.#draft.rows(), this.#draft.rows()];
    await this.#session.copyOut(`COPY (${images.before}) TO STDOUT`, (rows) => before.write(rows));
    await this.#session.copyOut(`COPY (${images.after}) TO STDOUT`, (rows) => after.write(rows));
    const [keptBefore, keptAfter] = await Promise.all([before.finish(), after.finish()]);
    return { ...shape, fingerprint: fingerprintOf(shape), before: keptBefore, after: keptAfter };
  }

  /**
   * One round trip, however many there are. Our own text, quoted by a mark that nobody can guess. Event triggers fire at what
   * we make and drop, where nobody gathers what they change, so they must not lose rows.
   */
  async #run(statements: readonly string[]): Promise<void> {
    const quote = `$run_${this.#mark}$`;
    const lost = `(${lostElsewhereSql.replaceAll('$1', "'{}'")})`;
    const body = statements.map((statement) => `EXECUTE ${quote}${statement}${quote};`).join('\n');
    await this.#session.query(`DO LANGUAGE plpgsql $do_${this.#mark}$
      DECLARE backstop_lost pg_catalog.numeric := CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_event_trigger) THEN ${lost} END;
      BEGIN ${body}
      IF backstop_lost IS NOT NULL THEN IF ${lost} OPERATOR(pg_catalog.<>) backstop_lost THEN
        RAISE SQLSTATE '40001' USING MESSAGE = 'Backstop rolled this statement back, because an event trigger changed rows that were not kept';
      END IF; END IF; END $do_${this.#mark}$`);
  }

  async #quotedNames(): Promise<readonly string[]> {
    const rows = await this.#session.query(
      `SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND ${keyPart('n.nspname')} || '.' || ${keyPart('c.relname')} IN (SELECT json_array_elements_text($1::json))`, [JSON.stringify(this.#names)]);
    const names = rows.map(([name]) => name ?? '');
    if (names.length !== this.#names.length) throw new Failure('schema_moved', 'Backstop: a table whose rows were to be kept is not there any more, so this statement did not run');
    return names;
  }
}

/** As the catalog's keys spell a name. */
function keyPart(name: string): string { return `CASE WHEN ${name} ~ '[".,()]' THEN '"' || replace(${name}, '"', '""') || '"' ELSE ${name}::text END`; }
