/**
 * The actions that are one message each: a simple Query, judged with all its statements together, and a FunctionCall,
 * judged like `SELECT f(…)` of the function that its OID names (H76).
 */
import { Failure } from '../../core/failure.ts';
import { joinRisks } from '../../core/risk.ts';
import type { Statement } from '../../core/sql/statement.ts';
import { decodeFrontend } from '../../lib/pgwire/frontend-decode.ts';
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import type { Candidate } from './admission.ts';
import type { SessionContext } from './context.ts';
import { digestOf } from './digest.ts';
import { bodiesOf, shownWith, unreadable } from './extended-plan.ts';
import { refuseForeignNames } from './foreign-names.ts';
import type { Setting } from './judgements.ts';
import { quoteIdentifier } from './oid-names.ts';
import { namedBefore } from './planned-names.ts';

/** Throws ProtocolError or Failure for what cannot be read. */
export function queryCandidate(frame: Frame, context: SessionContext, setting: Setting): Candidate {
  const message = decodeFrontend(frame);
  if (message.kind !== 'query') throw new Failure('protocol_violation', `Backstop did not expect a ${message.kind} message here.`);
  refuseForeignNames(message.sql, context.serverEncoding);
  return candidateOf(message.sql, context, setting, (statements) => digestOf({ sql: message.sql, bodies: bodiesOf(statements, context) }));
}

export async function functionCandidate(frame: Frame, context: SessionContext, setting: Setting): Promise<Candidate> {
  const message = decodeFrontend(frame);
  if (message.kind !== 'function-call') throw new Failure('protocol_violation', `Backstop did not expect a ${message.kind} message here.`);
  const { functionOid, formats, values } = message;
  const named = await context.oids.functionNamed(context.database, functionOid);
  if (named === undefined) throw new Failure('undefined_function', `function with OID ${functionOid} does not exist`);
  const parameters = values.map((_value, index) => `$${index + 1}`).join(', ');
  const sql = `SELECT ${quoteIdentifier(named.schema)}.${quoteIdentifier(named.name)}(${parameters})`;
  const candidate = candidateOf(sql, context, setting, () => digestOf({ sql: `FunctionCall ${functionOid} ${sql}`, formats, values }));
  return candidate;
}

function candidateOf(sql: string, context: SessionContext, setting: Setting, digest: (statements: readonly Statement[]) => string): Candidate {
  const { assessment, redacted, fingerprint } = context.judgements.judgeQuery(sql, setting);
  if (assessment.error !== undefined) throw unreadable(sql, assessment.error, context);
  const statements = assessment.statements.map(({ statement }) => statement);
  return {
    text: sql, facts: { redacted: shownWith(redacted, statements, context), fingerprint }, statements, digest: digest(statements), setting,
    riskUnder: (under) => statements.reduce((risk, statement) => joinRisks(risk, namedBefore(statement, context, under)), (under === setting ? assessment : context.judgements.judge(sql, under).assessment).risk),
  };
}
