/**
 * Hardening, joined: a link to the database that is to be hardened, the facts read from it, the plan made of them, and how
 * to apply it with what we remember. For `backstop harden` alone; nothing here serves.
 */
import { hardenPlan, type HardenPlan, type HardenWish } from '../core/harden/harden-plan.ts';
import { assess } from '../core/sql/assess.ts';
import { beginSession } from '../core/sql/next-session.ts';
import { applyHardening } from '../flow/harden.ts';
import { connectLink } from '../remote/postgres/link.ts';
import { parseConnectionString } from '../remote/postgres/link-target.ts';
import { readHardenFacts } from '../remote/postgres/read-harden-facts.ts';
import { livePlace } from './judging-place.ts';
import type { Memory } from './memory.ts';

/** What makes the gateway the only way into a database, and how to apply it; `close` it. */
export interface Hardening {
  readonly wish: HardenWish;
  readonly plan: HardenPlan;
  /** Needs an operator's token. Throws Failure; then nothing was changed. */
  apply(memory: Memory, token: string): Promise<void>;
  close(): Promise<void>;
}

/** Reads who may do what there, and changes nothing. `schemas` empty: all that are users' own. Throws Failure. */
export async function openHardening(
  connectionString: string, wished: Omit<HardenWish, 'gateway'> & { readonly gateway: string | undefined }, schemas: readonly string[],
): Promise<Hardening> {
  const link = await connectLink(parseConnectionString(connectionString), { parameters: new Map([['application_name', 'backstop harden'], ['search_path', '']]) });
  try {
    const facts = await readHardenFacts(link, wished.role, schemas);
    const wish: HardenWish = { ...wished, gateway: wished.gateway ?? hostOf(facts.clientAddress) };
    const plan = hardenPlan(facts, wish);
    return {
      wish, plan, close: () => link.end(),
      apply: async ({ identities, ledger }, token) => {
        const { catalog, parser, role } = await livePlace(connectionString);
        const session = beginSession([], role);
        const judge = (sql: string): ReturnType<typeof assess>['risk'] => assess(sql, session, catalog, parser).risk;
        await applyHardening({ identities, ledger, link, judge, database: facts.database }, token, plan.statements);
      },
    };
  } catch (error) {
    await link.end();
    throw error;
  }
}

/** From here, as the server sees it. */
function hostOf(address: string | null): string {
  if (address === null) return '127.0.0.1/32';
  return `${address}/${address.includes(':') ? 128 : 32}`;
}
