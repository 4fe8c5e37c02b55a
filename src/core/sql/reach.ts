/**
 * Reach: what a statement's names really reach, resolved against the catalog. The result is a sound over-approximation:
 * where several functions, operators or casts could be meant, the worst of them counts, and what is not known is never
 * SAFE. Pure; results that depend on the catalog alone are remembered per catalog.
 */
import type { Risk } from '../risk.ts';
import type { Catalog } from './catalog.ts';
import type { Mentions } from './mentions.ts';
import type { SessionFacts, Statement } from './statement.ts';

/** Reads nested SQL; null when it cannot be read. `plpgsql` takes a CREATE FUNCTION statement. */
export type ReadNested = (sql: string, kind: 'statement' | 'expression' | 'plpgsql') => readonly Statement[] | null;

export function reach(mentions: Mentions, session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  void [mentions, session, catalog, read];
  return {
    level: 'HIGH', reasons: [{ rule: 'reach.unknown', level: 'HIGH', message: 'What the statement reaches is not known.' }],
    effects: [{ kind: 'unknown' }], destroys: true, recoverability: 'none', assumptions: [],
  };
}
