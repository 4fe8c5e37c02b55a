/**
 * The same approvals, with a count of those who wait for a person and a measure of how long they do.
 */
import type { Clock } from '../lib/clock.ts';
import type { Approvals } from '../store/approvals.ts';

/** Measures how long people are waited for. */
export function counted(approvals: Approvals, clock: Clock, observe: (seconds: number) => void, count: (change: 1 | -1) => void): Approvals {
  return {
    request: (wanted) => approvals.request(wanted), get: (id) => approvals.get(id), list: (state, limit) => approvals.list(state, limit),
    answer: (id, given) => approvals.answer(id, given), use: (id, binding) => approvals.use(id, binding),
    waitForAnswer: async (id, limits) => {
      const since = clock.monotonicMs();
      count(1);
      try {
        return await approvals.waitForAnswer(id, limits);
      } finally {
        count(-1);
        observe((clock.monotonicMs() - since) / 1000);
      }
    },
  };
}
