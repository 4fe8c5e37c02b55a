/**
 * Hardening, applied: an operator's token first, then for every statement what it would do and who asked, on record,
 * before anything runs; all of them in one transaction; and what became of it, on record. Policies are for agents: the
 * operator who runs this is the person whom a policy would ask.
 */
import { Failure } from '../core/failure.ts';
import type { HardenStatement } from '../core/harden/harden-plan.ts';
import type { Risk } from '../core/risk.ts';
import type { Link } from '../remote/postgres/link.ts';
import type { Identities } from '../store/identities.ts';
import type { Ledger } from '../store/ledger.ts';

export interface HardenDeps {
  readonly identities: Pick<Identities, 'authenticateOperator'>;
  readonly ledger: Pick<Ledger, 'append'>;
  readonly link: Pick<Link, 'query'>;
  readonly judge: (sql: string) => Risk;
  readonly database: string;
}

/** Throws Failure `not_permitted`, `ledger_unavailable`, or `conflict` with the statement that failed; then nothing was changed. */
export async function applyHardening(deps: HardenDeps, token: string, statements: readonly HardenStatement[]): Promise<void> {
  const by = await deps.identities.authenticateOperator(token);
  const record = async (what: 'harden' | 'hardened' | 'harden-failed', note: string): Promise<void> => deps.ledger.append({ kind: 'admin', what, by, subject: deps.database, note });
  for (const { sql } of statements) {
    const { level, reasons } = deps.judge(sql);
    await record('harden', `${level} (${reasons.map(({ rule }) => rule).join(', ')}): ${sql}`);
  }
  let running = 'BEGIN';
  try {
    await deps.link.query('BEGIN');
    for (const { sql } of statements) {
      running = sql;
      await deps.link.query(sql);
    }
    running = 'COMMIT';
    await deps.link.query('COMMIT');
  } catch (error) {
    const wasUndone = await deps.link.query('ROLLBACK').then(() => true, () => false);
    await record('harden-failed', `${running}: ${error instanceof Error ? error.message : String(error)}${wasUndone ? '' : '; the connection was lost'}`);
    throw new Failure('conflict', `the server refused ${running}`, {
      detail: error instanceof Error ? error.message : String(error), cause: error,
      hint: wasUndone ? 'Everything was rolled back. Run it as a superuser, or as the owner of the database and its objects.' : 'The connection was lost: run `backstop harden` again to see what is still to be done.',
    });
  }
  await record('hardened', `${statements.length} statements`);
}
