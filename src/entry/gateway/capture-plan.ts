/**
 * What a capture needs to know of the statements beside their coverage: the rows that a single UPDATE or DELETE is going to
 * change, with the values that its client bound; what a single TRUNCATE, DROP or ALTER TABLE takes hold of.
 */
import type { CapturePlan } from '../../remote/postgres/capture/capture.ts';
import type { Judgements } from './judgements.ts';
import type { ProtectedUnit } from './protected-work.ts';

export function capturePlanOf(units: readonly ProtectedUnit[], plan: Pick<CapturePlan, 'coverage' | 'database' | 'isInBlock' | 'first'>, judgements: Judgements): CapturePlan {
  const { coverage } = plan;
  const [single, ...more] = units;
  if (single === undefined || more.length > 0) return plan;
  const { candidate: { statements, setting, bind }, risk } = single.part;
  const [statement] = statements;
  if (coverage.method === 'tables' || coverage.method === 'tombstone') return { ...plan, taken: statement === undefined || statements.length > 1 ? undefined : judgements.taken(statement) };
  const query = coverage.method === 'rows' ? judgements.rowsQuery(statements, risk, setting) : undefined;
  if (query === undefined) return plan;
  const { ceiling } = single.unit;
  return { ...plan, rows: { query, bind, rowsExpected: judgements.rowBound(statements, risk, setting, bind?.parameterTypes ?? [])?.rowsMax, rowsMax: ceiling?.rows ?? ceiling?.total ?? undefined } };
}
