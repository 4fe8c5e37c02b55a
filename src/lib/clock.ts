/**
 * Clock: time as an argument. Code that compares or stamps times receives one, so that its tests choose the time.
 * `now` may jump when the machine's time is set; `monotonicMs` never goes back and is for durations and deadlines.
 */
export interface Clock {
  now(): Date;
  /** Milliseconds, with fractions, since an arbitrary moment. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
};
