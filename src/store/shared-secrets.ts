/**
 * Shared secrets: random keys that every node of one store must have in common, made by whichever needs one first.
 */
import type { StoreDatabase } from './database.ts';

/** The secret of that name; `make` gives it when there is none. Throws Failure `store_unavailable`. */
export async function sharedSecret({ queries, transact }: Pick<StoreDatabase, 'queries' | 'transact'>, name: string, make: () => string): Promise<string> {
  const find = async (from: Pick<StoreDatabase['queries'], 'selectFrom'>): Promise<string | undefined> =>
    (await from.selectFrom('shared_secret').select('value').where('name', '=', name).executeTakeFirst())?.value;
  return await find(queries) ?? transact(async (changes) => {
    const made = await find(changes);
    if (made !== undefined) return made;
    const value = make();
    await changes.insertInto('shared_secret').values({ name, value }).execute();
    return value;
  });
}
