/**
 * A log line is one JSON object that carries what happened and never a credential or the literals of a statement.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from './log.ts';
import type { Log, LogLevel } from './log.ts';

function capture(level: LogLevel, use: (log: Log) => void): readonly Record<string, unknown>[] {
  const lines: string[] = [];
  use(createLog({ level, destination: { write: (line) => { lines.push(line); } } }));
  return lines.map((line) => JSON.parse(line));
}

test('a line carries its fields, its message and the fields of its log', () => {
  const [line] = capture('info', (log) => { log.child({ session: 'ses_1' }).info({ rows: 3, fingerprint: 'ab12' }, 'statement settled'); });
  assert.equal(line?.['msg'], 'statement settled');
  assert.equal(line?.['session'], 'ses_1');
  assert.equal(line?.['rows'], 3);
  assert.equal(line?.['fingerprint'], 'ab12');
});

test('what is below the level is not written', () => {
  assert.equal(capture('warn', (log) => { log.info({}, 'quiet'); log.warn({}, 'loud'); }).length, 1);
  assert.equal(capture('silent', (log) => { log.error({}, 'nothing'); }).length, 0);
});

const literal = 'S3cr3t-4711';
const leaks: readonly (readonly [string, Record<string, unknown>])[] = [
  ['a password', { password: literal }],
  ['a token deep inside', { a: { b: [{ agent_token: 1, Token: literal }] } }],
  ['SQL text', { sql: `SELECT '${literal}'` }],
  ['bind values', { params: [literal] }],
  ['a list of rows', { rows: [{ name: literal }] }],
  ['a URL with a password', { address: `postgres://app:${literal}@db.internal:5432/shop` }],
  ['a URL whose password holds an @', { address: `postgres://app:x@${literal}@db/shop` }],
  ['a keyword string', { address: `host=db user=app password='${literal}' dbname=shop` }],
  ['bytes', { packet: Buffer.from(literal) }],
  ['an error from a database', { err: Object.assign(new Error(`invalid input: "${literal}"`), { severity: 'ERROR', code: '22P02', detail: literal }) }],
  ['the properties of an error', { err: Object.assign(new Error('failed'), { query: literal, where: literal }) }],
  ['the cause of an error', { err: new Error('failed', { cause: Object.assign(new Error(literal), { severity: 'ERROR' }) }) }],
  ['an error message with a URL', { err: new Error(`cannot reach postgres://u:${literal}@h/d`) }],
  ['what toJSON returns', { thing: { toJSON: () => ({ password: literal }) } }],
  ['a password at the place where a long text is cut', { note: `${'x '.repeat(965)} postgres://app:${literal.repeat(20)}@db/shop` }],
  ['a name with a hyphen', { 'api-key': literal }],
];
for (const [what, fields] of leaks) {
  test(`${what} is not written`, () => {
    const lines = capture('debug', (log) => { log.error(fields, 'it failed'); log.child(fields).error({}, 'again'); });
    assert.equal(lines.length, 2);
    assert.ok(!JSON.stringify(lines).includes(literal), JSON.stringify(lines));
  });
}

test('a password in the message itself is cut out', () => {
  const [line] = capture('info', (log) => { log.info({}, `upstream postgres://app:${literal}@db/shop`); });
  assert.match(String(line?.['msg']), /postgres:\/\/app:\[masked\]@db\/shop/);
});

test('an error keeps its name, code, message and frames', () => {
  const [line] = capture('info', (log) => { log.error({ err: Object.assign(new Error('port is taken'), { code: 'EADDRINUSE' }) }, 'cannot listen'); });
  const err = line?.['err'] as { name: string; code: string; message: string; frames: string[] };
  assert.deepEqual([err.name, err.code, err.message], ['Error', 'EADDRINUSE', 'port is taken']);
  assert.ok(err.frames.length > 0);
});

test('a cycle or a huge value cannot hang or flood the log', () => {
  const cycle: Record<string, unknown> = { name: 'loop' };
  cycle['self'] = cycle;
  const [line] = capture('info', (log) => { log.info({ cycle, long: 'x'.repeat(1_000_000), list: Array(10_000).fill(1) }, 'odd'); });
  assert.ok(JSON.stringify(line).length < 10_000);
});
