/**
 * Reach: what a statement's names really reach, resolved against the catalog. The result is a sound over-approximation:
 * where several functions, operators or casts could be meant, the worst of them counts, and what is not known is never
 * SAFE. Pure; results that depend on the catalog alone are remembered per catalog.
 */
import { nothing, type Risk } from '../risk.ts';
import type { Catalog } from './catalog.ts';
import type { Mentions } from './mentions.ts';
import { heldRisk } from './reach-cascade.ts';
import { triggerFunctionRisk } from './reach-function.ts';
import { reachMentions } from './reach-names.ts';
import { joinAll, openScope, through, withoutRepeats, type ReadNested } from './reach-scope.ts';
import type { SessionFacts, Statement } from './statement.ts';

export type { ReadNested } from './reach-scope.ts';

export function reach(mentions: Mentions, session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  return withoutRepeats(reachMentions(openScope(session, catalog, read), mentions));
}

/** What a dropped schema or extension takes along. */
export function reachDropped({ own }: Statement, session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  const held = own.effects.filter(({ kind, objectKind, object }) => kind === 'drop' && object !== undefined && (objectKind === 'schema' || objectKind === 'extension'));
  if (held.length === 0) return nothing;
  const scope = openScope(session, catalog, read);
  return withoutRepeats(joinAll(held.map((effect) => heldRisk(scope, effect))));
}

/** What any DDL runs: the enabled event triggers (H35). Login triggers run at connect, not here. */
export function reachDdl(session: SessionFacts, catalog: Catalog, read: ReadNested): Risk {
  const triggers = catalog.eventTriggers.filter((trigger) => trigger.event !== 'login');
  if (triggers.length === 0) return nothing;
  const scope = openScope(session, catalog, read);
  return withoutRepeats(joinAll(triggers.map((trigger) =>
    through(triggerFunctionRisk(scope, trigger.function), `event trigger ${trigger.name}`))));
}
