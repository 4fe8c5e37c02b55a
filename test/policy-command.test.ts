/**
 * `backstop policy check` and `explain`, run as a user runs them but in this process: what they print, as text and as
 * JSON, and the exit code.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { startBackstop } from '../src/app/backstop.ts';
import { openHardening } from '../src/app/hardening.ts';
import { withUndo } from '../src/app/undo.ts';
import { livePlace, offlinePlace } from '../src/app/judging-place.ts';
import { openMemory } from '../src/app/memory.ts';
import { policyText } from '../src/app/policy.ts';
import { rules } from '../src/core/policy/rules.ts';
import { quietWords } from '../src/core/policy/trace.ts';
import { openPurging, openSnapshots } from '../src/app/snapshots.ts';
import { runCli } from '../src/entry/cli/cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'policy-command-'));
after(() => { rmSync(folder, { recursive: true }); });

async function backstop(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', ''];
  const code = await runCli(args, {
    version: '0', self: 'backstop', print: (text) => { out += text; return Promise.resolve(); }, printBytes: (bytes) => { out += bytes.toString(); return Promise.resolve(); }, tell: (text) => { err += `${text}\n`; },
    input: Readable.from([]), interrupted: () => Promise.resolve(), onHangup: () => undefined, now: () => new Date('2026-03-02T10:00:00Z'),
    openMemory, openSnapshots, openPurging, openHardening, startBackstop, offlinePlace, livePlace, policyText, withUndo,
  });
  return { code, out, err };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const head = 'name: shop\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }\n';
const scoped = file('scoped.yaml', `${head}limits: { max_rows: 10 }
scopes:
  - name: migrations
    match: { agents: [migrate-*], environments: [dev] }
    levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: deny }
  - name: night
    match: { hours: { from: "22:00", to: "06:00", zone: UTC } }
    levels: { SAFE: hold, LOW: deny, HIGH: deny, CRITICAL: deny }
`);

test('check names every mistake with its line and column, and exits with 2', async () => {
  const path = file('bad.yaml', 'name: shop\ndescription: d\nlevels: { SAFE: allow, LOW: deny, HIGH: hld, CRITICAL: deny }\nmode: watch\n');
  const { code, out, err } = await backstop('policy', 'check', path);
  assert.equal(code, 2);
  assert.equal(out, `${path}: 2 mistakes\n  3:41    \`levels.HIGH\` is "hld"; allowed: allow, hold, deny. Did you mean hold?\n  4:7     \`mode\` is "watch"; allowed: enforce, observe\n`);
  assert.match(err, /1 of 1 file cannot be used/);
  const json = await backstop('policy', 'check', '--json', path, 'protect');
  assert.equal(json.code, 2);
  const [bad, good] = json.out.trim().split('\n').map((line) => JSON.parse(line) as { ok: boolean; name?: string; mistakes: { line: number }[] });
  assert.deepEqual([bad?.ok, bad?.mistakes.map(({ line }) => line), good?.ok, good?.name], [false, [3, 4], true, 'protect']);
});

const doubts: readonly (readonly [why: string, text: string, warning: RegExp])[] = [
  ['a scope behind one that matches all of it', 'scopes:\n- { name: a, match: { agents: ["ci-*"] }, unknown: hold }\n- { name: b, match: { agents: [ci-1, "ci-x*"], databases: [x] }, unknown: hold }\n', /6:3 +scope b is never reached: a before it/],
  ['a scope that says nothing', 'scopes:\n- { name: a, match: { agents: [x] } }\n', /5:3 +scope a changes nothing/],
  ['decisions about nothing', 'protected: { on_write: hold }\n', /4:12 +decides about protected objects but names none/],
  ['a limit that never fires', 'limits: { max_percent: 100 }\n', /4:24 +never fires/],
  ['an acknowledgement without need', 'observe_in_production: I understand that nothing is enforced\n', /4:24 +has no effect/],
  ['observe', 'mode: observe\n', /4:7 +observe enforces nothing/],
];
for (const [why, text, warning] of doubts) {
  test(`check warns of ${why}`, async () => {
    const { code, out } = await backstop('policy', 'check', file('doubt.yaml', head + text));
    assert.equal(code, 0);
    assert.match(out, /is valid .* 1 warning:\n/);
    assert.match(out, warning);
  });
}

test('check is silent about scopes that can be reached', async () => {
  assert.match((await backstop('policy', 'check', scoped)).out, /policy shop is valid \([0-9a-f]{12}, 2 scopes\)\.\n$/);
});

test('explain says every rule, fired or not, with what it observed and the threshold', async () => {
  const { code, out } = await backstop('policy', 'explain', "UPDATE orders SET status = 'x' WHERE id > 3", '--agent', 'ada', '--policy', scoped, '--rows', '11');
  assert.equal(code, 0);
  for (const { id } of rules) assert.match(out, new RegExp(`^ {2}(·|‖ hold|✗ deny|✓ allow) +${id.replace('.', '\\.')} `, 'm'), id);
  assert.match(out, /HELD for a person: risk HIGH, policy shop .*, its base/);
  assert.match(out, /‖ hold +level\.HIGH +HIGH +HIGH: hold/);
  assert.match(out, /‖ hold +limit\.rows +11 rows of orders +max_rows: 10/);
  assert.match(out, /· +level\.CRITICAL +HIGH +CRITICAL: deny/);
  assert.match(out, /· +migrations +does not match: agents migrate-\*/);
  assert.match(out, /→ +base +no scope matches/);
});

test('explain takes who, where and when, and says why a scope was chosen', async () => {
  const at = async (...more: readonly string[]): Promise<{ decision: string; scope: string | null; scopes: readonly { misfits: readonly string[] }[] }> =>
    JSON.parse((await backstop('policy', 'explain', 'INSERT INTO orders VALUES (1)', '--policy', scoped, '--json', ...more)).out) as never;
  assert.deepEqual(await at('--agent', 'ada').then(({ decision, scope }) => [decision, scope]), ['hold', null]);
  assert.deepEqual(await at('--agent', 'migrate-7', '--environment', 'dev').then(({ decision, scope }) => [decision, scope]), ['allow', 'migrations']);
  const night = await at('--agent', 'migrate-7', '--environment', 'staging', '--at', '2026-03-02T23:00:00Z');
  assert.deepEqual([night.decision, night.scope, night.scopes.map(({ misfits }) => misfits)], ['deny', 'night', [['environments'], []]]);
});

test('explain tells a wrong time, a wrong file and a missing agent apart', async () => {
  assert.match((await backstop('policy', 'explain', 'SELECT 1', '--agent', 'a', '--at', 'noon')).err, /--at takes a time in ISO 8601/);
  assert.match((await backstop('policy', 'explain', 'SELECT 1', '--agent', 'a', '--policy', 'protekt')).err, /Did you mean protect\?/);
  assert.deepEqual(await backstop('policy', 'explain', 'SELECT 1').then(({ code }) => code), 2);
});

test('every rule has words for when it does not fire', () => {
  for (const { id } of rules) assert.ok(id.startsWith('level.') || quietWords[id] !== undefined, id);
});
