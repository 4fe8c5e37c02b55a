/**
 * Hints between the nodes of a PostgreSQL store, by NOTIFY: something that others wait for has changed, look now. The
 * listening connection is made when somebody first listens, and made again when it is lost; what was missed meanwhile is
 * found by looking, because no hint is ever the truth.
 */
import pg from 'pg';
import { sql } from 'kysely';
import type { Changes } from './database.ts';

export interface Hints {
  send(changes: Changes): Promise<void>;
  listen(listener: () => void): () => void;
  close(): Promise<void>;
}

const channel = 'backstop';
const reconnectMs = 1_000;

export function createHints(config: pg.ClientConfig): Hints {
  const listeners = new Set<() => void>();
  let client: pg.Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;

  const lost = (of: pg.Client): void => {
    if (client !== of) return;
    client = undefined;
    void of.end().catch(() => undefined);
    if (!isClosed) retry = setTimeout(connect, reconnectMs).unref();
  };
  const connect = (): void => {
    const made = new pg.Client({ ...config, application_name: 'backstop hints' });
    client = made;
    made.on('error', () => { lost(made); }).on('end', () => { lost(made); });
    made.on('notification', () => { for (const listener of listeners) listener(); });
    made.connect().then(() => made.query(`LISTEN ${channel}`)).catch(() => { lost(made); });
  };

  return {
    send: async (changes) => { await sql`SELECT pg_notify(${channel}, '')`.execute(changes); },
    listen: (listener) => {
      listeners.add(listener);
      if (client === undefined && retry === undefined && !isClosed) connect();
      return () => { listeners.delete(listener); };
    },
    close: async () => {
      isClosed = true;
      clearTimeout(retry);
      const last = client;
      client = undefined;
      await last?.end().catch(() => undefined);
    },
  };
}
