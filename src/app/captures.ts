/**
 * How what is covered so is captured: one way for each method of coverage.
 */
import { Failure } from '../core/failure.ts';
import type { RecoveryDraft } from '../flow/protect.ts';
import type { Capture, CapturePlan } from '../remote/postgres/capture/capture.ts';
import { createTransitionsCapture } from '../remote/postgres/capture/capture-transitions.ts';
import type { Link } from '../remote/postgres/link.ts';
import { sessionOf } from '../remote/postgres/transaction-session.ts';

/** Throws Failure where there is no such way. */
export function captureOn(link: Link, { coverage: { method, tables } }: CapturePlan, draft: Pick<RecoveryDraft, 'rows'>): Capture {
  const session = sessionOf(link);
  switch (method) {
    case 'rows':
    case 'transitions': return createTransitionsCapture(session, tables, draft);
    case 'tables':
    case 'tombstone':
    case undefined: throw new Failure('feature_not_supported', 'Backstop cannot keep what this statement takes away');
  }
}
