/**
 * What a purge still has to do: recovery points that are on record as purged while their objects may lie in the bucket yet.
 * A purge that was interrupted goes on from here.
 */
import type { CaptureMethod } from '../core/recovery/manifest.ts';
import type { StoreDatabase } from './database.ts';
import { inGroups } from './ledger-append.ts';

export interface PurgedPoint {
  readonly id: string;
  readonly method: CaptureMethod;
  readonly database: string;
  readonly pack: string;
  readonly line: string;
  readonly chunks: readonly string[];
}

export interface PurgeRecord {
  /** Purged points whose objects are not known to be gone, by id, from behind `after`. */
  left(after: string, limit: number): Promise<readonly PurgedPoint[]>;
  /** Their objects are gone, or are another point's. */
  removed(ids: readonly string[]): Promise<void>;
  /** Of these objects, those that some recovery point names, purged or not, unless a purge has removed them. */
  named(objects: readonly string[]): Promise<ReadonlySet<string>>;
  /** Of these sessions, those of which anything is on record. */
  knownSessions(ids: readonly string[]): Promise<ReadonlySet<string>>;
}

/** As they are made here; nothing in it means anything to LIKE but `_`, which stands for itself too. */
const sessionForm = /^[a-z]+_[0-9a-z]+$/;

export function createPurgeRecord({ database }: { readonly database: StoreDatabase }): PurgeRecord {
  const { queries } = database;
  return {
    left: async (after, limit) => {
      const points = await queries.selectFrom('recovery_point').select(['id', 'method', 'database_name', 'pack', 'line']).where('state', '=', 'purged').where('objects_left', '=', 1)
        .where('id', '>', after).orderBy('id').limit(limit).execute();
      const chunks = points.length === 0 ? [] : await queries.selectFrom('recovery_point_chunk').select(['name', 'point_id']).where('point_id', 'in', points.map(({ id }) => id)).execute();
      return points.map(({ id, method, database_name: name, pack, line }) => ({ id, method: method as CaptureMethod, database: name, pack, line, chunks: chunks.filter(({ point_id: of }) => of === id).map(({ name }) => name) }));
    },
    removed: (ids) => database.transact(async (changes) => {
      for (const some of inGroups(ids)) {
        await changes.updateTable('recovery_point').set({ objects_left: 0 }).where('id', 'in', some).where('state', '=', 'purged').execute();
        await changes.deleteFrom('recovery_point_chunk').where('point_id', 'in', some).execute();
      }
    }),
    named: async (objects) => {
      const found = new Set<string>();
      for (const some of inGroups(objects)) {
        const packs = await queries.selectFrom('recovery_point').select('pack').distinct().where('pack', 'in', some).where('objects_left', '=', 1).execute();
        const chunks = await queries.selectFrom('recovery_point_chunk').select('name').distinct().where('name', 'in', some).execute();
        for (const { pack } of packs) found.add(pack);
        for (const { name } of chunks) found.add(name);
      }
      return found;
    },
    knownSessions: async (ids) => {
      const known = new Set<string>();
      for (const id of ids.filter((some) => sessionForm.test(some))) {
        const entry = await queries.selectFrom('ledger').select('seq').where('body', 'like', `%"sessionId":"${id}"%`).limit(1).executeTakeFirst();
        if (entry !== undefined) known.add(id);
      }
      return known;
    },
  };
}
