/**
 * The record of who came and went: each connection and its end, and logins that were refused. A connection that cannot be
 * recorded is refused; its end is recorded as well as can be. Refused logins are bounded, because anybody can make them.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Ledger } from '../../store/ledger.ts';
import { refusedLoginsPerMinuteMax } from './limits.ts';

export interface Arrival { readonly sessionId: string; readonly agent: string; readonly database: string }

export interface Arrivals {
  /** Throws Failure `ledger_unavailable`. */
  came(arrival: Arrival, note: string): Promise<void>;
  left(arrival: Arrival): Promise<void>;
  refused(address: string, message: string): Promise<void>;
}

export function recordArrivals({ ledger, clock, log }: { readonly ledger: Pick<Ledger, 'append'>; readonly clock: Clock; readonly log: Log }): Arrivals {
  let minute = 0;
  let refusedInMinute = 0;
  return {
    came: (arrival, note) => ledger.append({ kind: 'connect', ...arrival, note }),
    left: async (arrival) => {
      try {
        await ledger.append({ kind: 'disconnect', ...arrival, note: null });
      } catch (error) {
        log.error({ error, session: arrival.sessionId }, 'the end of a connection could not be recorded');
      }
    },
    refused: async (address, message) => {
      const now = Math.floor(clock.monotonicMs() / 60_000);
      if (now !== minute) [minute, refusedInMinute] = [now, 0];
      refusedInMinute += 1;
      log.warn({ address, message }, 'a login was refused');
      if (refusedInMinute > refusedLoginsPerMinuteMax) return;
      try {
        await ledger.append({ kind: 'admin', what: 'login-refused', by: address, subject: 'gateway', note: message });
      } catch (error) {
        log.error({ error }, 'a refused login could not be recorded');
      }
    },
  };
}
