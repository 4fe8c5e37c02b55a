/** A refusal is one well-formed PostgreSQL error with everything that a person or a model needs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Approval } from '../../core/approval.ts';
import { Failure } from '../../core/failure.ts';
import { nothing } from '../../core/risk.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import { Frame } from '../../lib/pgwire/frame-reader.ts';
import { decodeFrontend } from '../../lib/pgwire/frontend-decode.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { errorOf, failingExecute, holdNotice, ownErrors, refusalOf, SyntaxRefusal } from './refuse.ts';

const read = (message: Buffer) => decodeDiagnostic(message.subarray(5));

test('a Failure becomes severity, SQLSTATE, message, detail and hint', () => {
  const fields = read(errorOf(new Failure('statement_denied', 'no', { detail: 'rule x: observed 1; threshold 0', hint: 'do this' })));
  assert.deepEqual(fields, { severity: 'ERROR', code: '42501', message: 'no', detail: 'rule x: observed 1; threshold 0', hint: 'do this' });
});

test('every error of our own has a SQLSTATE and ends no connection unless it says FATAL', () => {
  const of = (make: (...given: readonly never[]) => Buffer) => read(Reflect.apply(make, undefined, ['x', 1]) as Buffer);
  const fatal = Object.entries(ownErrors).flatMap(([name, make]) => (of(make).severity === 'FATAL' ? [name] : []));
  assert.deepEqual(fatal.toSorted(), ['certificateEnded', 'revoked', 'shutDown', 'stalled', 'tooManyLogins', 'upstreamLost']);
  for (const make of Object.values(ownErrors)) assert.match(of(make).code, /^[0-9A-Z]{5}$/);
});

test('what makes the upstream fail is an Execute of a portal that no client can name', () => {
  const message = decodeFrontend(new Frame(failingExecute));
  assert.ok(message.kind === 'execute' && /^backstop_refused_[0-9a-f]{24}$/.test(message.portal));
});

test('the notice of a hold names the approval and how to answer it', () => {
  const approval: Approval = {
    id: 'apr_7', kind: 'approval', state: 'pending', actionId: 'act_1', binding: '', agent: 'ada', database: 'd', redacted: '', risk: { ...nothing, level: 'HIGH', reasons: [{ rule: 'a', level: 'HIGH', message: 'It writes.' }] },
    verdict: { decision: 'hold', level: 'HIGH', fired: [], policyName: 'protect', policyHash: '', wouldBe: 'hold' }, impact: { kind: 'none' },
    coverage: { scope: 'exact-rows', method: 'rows', tables: ['public.t'], sentence: 'It can be undone.', lost: ['Not the sequence.'] },
    requestedAt: '', expiresAt: '', answeredAt: null, answeredBy: null, reason: null,
  };
  const fields = read(holdNotice(approval, 55_000));
  assert.equal(fields.severity, 'NOTICE');
  assert.match(`${fields.message} ${fields.detail} ${fields.hint}`, /apr_7.*55 seconds.*It can be undone\. Not the sequence\. .*It writes\..*backstop approvals approve apr_7/);
});

test('a syntax error is what the server would say of it', () => {
  const fields = read(refusalOf(new SyntaxRefusal({ message: 'syntax error at or near "FRM"', position: 10 })));
  assert.deepEqual(fields, { severity: 'ERROR', code: '42601', message: 'syntax error at or near "FRM"', position: '10' });
});

test('a malformed message is a failure of the client, and anything unknown stays a fault', () => {
  assert.equal(read(refusalOf(new ProtocolError('not-utf8', 'text'))).code, '42601');
  assert.equal(read(refusalOf(new ProtocolError('malformed', 'text'))).code, '08P01');
  assert.throws(() => refusalOf(new TypeError('a bug')), TypeError);
});
