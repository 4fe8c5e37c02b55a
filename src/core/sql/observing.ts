/**
 * Observing: what tells its reader whether the transaction is read-only. It does no harm; but a gateway that runs reads
 * where the server refuses writes must know which reads would see that. Everything that shows settings by name counts,
 * unless it names another one.
 */
import { nothing, type Risk } from '../risk.ts';

/** `all` is what SHOW takes for every setting. */
const observed: ReadonlySet<string> = new Set(['transaction_read_only', 'default_transaction_read_only', 'all']);

/** `name` null: computed, or every setting there is. */
export function readingSetting(name: string | null): Risk {
  const lower = name?.toLowerCase();
  if (lower !== undefined && !observed.has(lower)) return nothing;
  return { ...nothing, effects: [{ kind: 'read', objectKind: 'setting', ...(lower === undefined ? {} : { object: lower }) }] };
}
