/**
 * Assertions: a bug is not a failure. What these throw was thought impossible, so no caller handles it; the outermost
 * frame of a session ends that session and reports it. Expected failures are never thrown from here.
 */
export class Bug extends Error {
  constructor(message: string, more: { readonly cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'Bug';
  }
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Bug(message);
}

/** The value, where the reader can see that it must exist. */
export function present<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Bug(`${what} is missing`);
  return value;
}
