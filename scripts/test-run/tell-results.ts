/**
 * The reporter inside a test file's process: it tells the runner, one JSON object a line on a descriptor of its own, what
 * passed, failed, began and was over, and at last that everything was told. A descriptor, and not standard output, so that
 * what tests print cannot be taken for it; written at once, so that a process that is killed has told what it knew.
 */
import { writeSync } from 'node:fs';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

export type Told =
  | { readonly kind: 'begun' | 'over'; readonly id: number; readonly name: string }
  | { readonly kind: 'passed' | 'skipped' }
  | { readonly kind: 'failed'; readonly name: string; readonly file: string | undefined; readonly line: number | undefined; readonly why: string }
  | { readonly kind: 'end' };

export const toldDescriptor = 3;

async function* tellResults(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const told = toldOf(event);
    if (told !== undefined) tell(told);
  }
  tell({ kind: 'end' });
}

function toldOf({ type, data }: TestEvent): Told | undefined {
  switch (type) {
    case 'test:dequeue': return { kind: 'begun', id: data.testId, name: data.name };
    case 'test:complete': return { kind: 'over', id: data.testId, name: data.name };
    case 'test:pass':
      // Of a group that is skipped nothing more is told, so it counts as one; of any other its tests are told.
      if (data.skip !== undefined) return { kind: 'skipped' };
      if (data.details.type === 'suite') return undefined;
      return { kind: data.todo !== undefined ? 'skipped' : 'passed' };
    case 'test:fail':
      if (isCausedByChild(data.details.error)) return undefined;
      if (data.todo !== undefined) return { kind: 'skipped' };
      return { kind: 'failed', name: data.name, file: data.file, line: data.line, why: explain(data.details.error) };
    default: return undefined;
  }
}

/** A parent fails because a test inside it did: that one has been told. A hook that failed has not. */
function isCausedByChild(error: unknown): boolean {
  return error instanceof Error && 'failureType' in error && error.failureType === 'subtestsFailed';
}

function explain(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? inspect(cause, { depth: 4 }) : inspect(error);
}

function tell(told: Told): void { writeSync(toldDescriptor, `${JSON.stringify(told)}\n`); }

// Node takes a reporter by this name.
export { tellResults as default };
