/**
 * `backstop snapshots` over a real store and folder: it finds, shows and checks recovery points, with and without the store,
 * exports what they keep, and removes what is expired only when it is told to.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { startBackstop } from '../src/app/backstop.ts';
import { openHardening } from '../src/app/hardening.ts';
import { livePlace, offlinePlace } from '../src/app/judging-place.ts';
import { openMemory } from '../src/app/memory.ts';
import { policyText } from '../src/app/policy.ts';
import { openPurging, openSnapshots } from '../src/app/snapshots.ts';
import { withUndo } from '../src/app/undo.ts';
import { runCli } from '../src/entry/cli/cli.ts';
import { openFolderBucket } from '../src/remote/bucket/folder.ts';
import { keepPoint, pointRoom } from './fixtures/kept-point.ts';
import { until } from './fixtures/until.ts';

const folder = mkdtempSync(join(tmpdir(), 'snapshots-command-'));
const [data, bucket] = [join(folder, 'data'), join(folder, 'data', 'recovery-points')];
after(() => { rmSync(folder, { recursive: true }); });

const now = new Date('2026-11-21T12:00:00.000Z');
const daysAgo = (days: number): Date => new Date(now.getTime() - days * 86_400_000);
let [old, large, young, token] = ['', '', '', ''];

interface Run { readonly code: number; readonly out: string; readonly err: string }

async function backstop(...args: readonly string[]): Promise<Run> {
  let [out, err] = ['', ''];
  const print = (text: string | Buffer): Promise<void> => { out += text.toString(); return Promise.resolve(); };
  const code = await runCli(args, {
    version: '0', self: 'backstop', print, printBytes: print, tell: (text) => { err += `${text}\n`; },
    input: Readable.from([]), interrupted: () => Promise.resolve(), onHangup: () => undefined, now: () => now,
    openMemory, openSnapshots, openPurging, openHardening, startBackstop, offlinePlace, livePlace, policyText, withUndo,
  });
  return { code, out, err };
}

const snapshots = (...args: readonly string[]): Promise<Run> => backstop('snapshots', ...args, '--data', data);
const alone = (place: string, ...args: readonly string[]): Promise<Run> => backstop('snapshots', ...args, '--storage', place);
const ids = (out: string): readonly string[] => [...out.matchAll(/\brp_\d+/g)].map(([id]) => id);
const inBucket = (): readonly string[] => readdirSync(bucket, { recursive: true, encoding: 'utf8' }).filter((name) => /\.zst$/.test(name)).sort();

before(async () => {
  const memory = await openMemory({ kind: 'sqlite', folder: data });
  ({ token } = await memory.identities.addOperator('olga'));
  await memory.ledger.append({ kind: 'connect', sessionId: 'ses_1', agent: 'invoicer', database: 'shop', note: null });
  const room = await pointRoom(await openFolderBucket(bucket), memory.recoveryPoints);
  const kept: readonly (readonly [days: number, rows: number, agent: string])[] = [[40, 7, 'invoicer'], [35, 3_000, 'invoicer'], [2, 12, 'reporting']];
  const points: string[] = [];
  for (const [days, rows, agent] of kept) {
    const { id, settle } = await keepPoint(room, { at: daysAgo(days), rows, agent });
    settle('committed');
    await until(`${id} is committed`, async () => (await memory.recoveryPoints.get(id)).state === 'committed');
    points.push(id);
  }
  [old = '', large = '', young = ''] = points;
  await memory.close();
});

test('a list is newest first, with what a person looks for, and filtered', async () => {
  const { out } = await snapshots('list');
  assert.deepEqual(ids(out), [young, large, old]);
  assert.match(out, /^POINT +TAKEN +STATE +AGENT +DATABASE +BACK TO + *ROWS +SIZE +ACTION\n/);
  assert.match(out, new RegExp(`^${large}  2026-10-17 12:00:00  committed  invoicer   shop      exact-rows  3000     117 kB  act_\\d+$`, 'm'));
  assert.deepEqual(ids((await snapshots('list', '--agent', 'reporting')).out), [young]);
  assert.deepEqual(ids((await snapshots('list', '--since', '2026-10-15', '--until', '2026-11-19T12:00:00Z')).out), [large]);
  assert.deepEqual(ids((await snapshots('list', '--limit', '1')).out), [young]);
  assert.deepEqual(ids((await snapshots('list', '--table', 'orders')).out), [young, large, old]);
  assert.equal((await snapshots('list', '--table', 'customers')).out, 'There is none.\n');
  assert.equal((await snapshots('list', '--state', 'undone')).out, 'There is none.\n');
  const [line = ''] = (await snapshots('list', '--json', '--agent', 'invoicer')).out.split('\n');
  assert.deepEqual(Object.keys(JSON.parse(line) as object).slice(0, 3), ['id', 'state', 'agent']);
  for (const args of [['--state', 'gone'], ['--since', 'yesterday'], ['--limit', '0']]) assert.equal((await snapshots('list', ...args)).code, 2, args.join(' '));
});

test('one is shown with all that it keeps, by its own name and by its action', async () => {
  const { out } = await snapshots('show', large);
  for (const text of [/^Recovery point +rp_\d+ {2}committed$/m, /^Action +act_\d+ {2}DELETE FROM orders WHERE customer = \?$/m, /^Back to +Every row/m, /^public\.orders +before +3000 +117 kB +\d+$/m]) assert.match(out, text);
  const action = /act_\d+/.exec(out)?.[0] ?? '';
  assert.equal((await snapshots('show', action)).out, out);
  const shown = JSON.parse((await snapshots('show', old, '--json')).out) as { readonly manifest: { readonly format: number } };
  assert.equal(shown.manifest.format, 1);
  assert.match((await snapshots('show', 'rp_')).err, /there is no recovery point of rp_/);
  const several = await snapshots('show', 'rp_0000');
  assert.deepEqual([several.code, new Set(ids(several.err)).size], [2, 4]);
  const missing = await snapshots('show', 'act_nothing');
  assert.deepEqual([missing.code, /there is no recovery point of act_nothing/.test(missing.err)], [7, true]);
});

test('the bucket alone tells what it holds, and gives it out, to whoever has lost the store', async () => {
  assert.deepEqual(ids((await alone(bucket, 'list')).out), [young, large, old]);
  assert.deepEqual(ids((await alone(bucket, 'list', '--agent', 'reporting', '--table', 'public.orders')).out), [young]);
  assert.match((await alone(bucket, 'verify')).out, /All 3 recovery points are whole/);
  assert.equal((await alone(bucket, 'export', young)).out, (await snapshots('export', young)).out);
  assert.equal((await alone(bucket, 'show', young)).out.split('\n')[0], `Recovery point  ${young}`);
  assert.equal((await alone(bucket, 'list', '--state', 'committed')).code, 2);
  const nowhere = await alone(join(folder, 'nowhere'), 'list');
  assert.deepEqual([nowhere.code, readdirSync(folder).includes('nowhere')], [7, false]);
});

test('an export is whole in a new file of its owner, or not there', async () => {
  const { out } = await snapshots('export', young);
  assert.deepEqual([out.split('\n').length, out.split('\n')[0], out.split('\n')[2]], [14, 'id,customer', '00000001,customer number 00000000000001']);
  const path = join(folder, 'rows.csv');
  assert.match((await snapshots('export', young, '--out', path)).out, /rows\.csv: 12 rows of public\.orders \(before\), \d+ bytes\n$/);
  assert.deepEqual([readFileSync(path, 'utf8'), statSync(path).mode & 0o777], [out, 0o600]);
  assert.deepEqual([(await snapshots('export', young, '--out', path)).code, readFileSync(path, 'utf8')], [8, out]);
  const parquet = JSON.parse((await snapshots('export', large, '--format', 'parquet', '--out', join(folder, 'rows.parquet'), '--json')).out) as { readonly rows: number };
  assert.equal(parquet.rows, 3_000);
  assert.equal(readFileSync(join(folder, 'rows.parquet')).subarray(0, 4).toString(), 'PAR1');
  assert.equal((await snapshots('export', young, '--images', 'after', '--out', join(folder, 'none.csv'))).code, 7);
  assert.equal((await snapshots('export', young, '--format', 'xls')).code, 2);
  assert.deepEqual(readdirSync(folder).filter((name) => /none|unfinished/.test(name)), []);
});

test('what is broken is named, everywhere that it is', async () => {
  assert.match((await snapshots('verify')).out, /All 3 recovery points are whole/);
  const [chunk = ''] = inBucket().filter((name) => name.startsWith('objects/'));
  const bytes = readFileSync(join(bucket, chunk));
  const changed = Buffer.from(bytes);
  changed[20] = (changed[20] ?? 0) ^ 1;
  writeFileSync(join(bucket, chunk), changed);
  try {
    const { code, out, err } = await snapshots('verify');
    assert.deepEqual([code, out.includes(`${large}  BROKEN: ${chunk}`), (out.match(/whole/g) ?? []).length], [5, true, 2]);
    assert.ok(err.includes(large));
    assert.equal((await snapshots('verify', young)).code, 0);
    const checked = (await snapshots('verify', large, '--json')).out;
    assert.ok(checked.includes('is not what was stored there'));
    const cut = await snapshots('export', large, '--out', join(folder, 'cut.csv'));
    assert.deepEqual([cut.code, readdirSync(folder).filter((name) => name.startsWith('cut'))], [5, []]);
  } finally {
    writeFileSync(join(bucket, chunk), bytes);
  }
  const [pack = ''] = inBucket().filter((name) => name.startsWith('packs/'));
  const packed = readFileSync(join(bucket, pack));
  writeFileSync(join(bucket, pack), 'nothing');
  try {
    const { code, err } = await alone(bucket, 'verify');
    assert.ok(code === 5 && err.includes(pack));
    assert.equal(ids((await alone(bucket, 'list')).out).length, 2);
  } finally {
    writeFileSync(join(bucket, pack), packed);
  }
});

test('a purge shows first, needs the operator, and then removes what is expired', async () => {
  const before = inBucket();
  for (const args of [[], ['--dry-run', '--yes'], ['--older-than', '36']]) {
    const { code, out } = await snapshots('purge', ...args);
    assert.deepEqual([code, /Nothing was removed/.test(out), inBucket()], [0, true, before]);
  }
  assert.match((await snapshots('purge')).out, /^Recovery points {2}2\nRows +3007\nSize +117 kB before compression\n/);
  assert.equal((await snapshots('purge', '--yes')).code, 6);
  assert.equal((await snapshots('purge', '--yes', '--token', 'wrong')).code, 6);
  assert.equal((await snapshots('purge', '--older-than', '0')).code, 2);
  assert.deepEqual(inBucket(), before);
  const purged = JSON.parse((await snapshots('purge', '--yes', '--json', '--token', token)).out) as { readonly points: number; readonly objects: number };
  assert.deepEqual([purged.points, purged.objects], [2, before.length - 1]);
  assert.equal(inBucket().length, 1);
  assert.deepEqual(ids((await snapshots('list', '--state', 'purged')).out), [large, old]);
  assert.match((await snapshots('verify')).out, /All 1 recovery points are whole/);
  assert.equal((await backstop('ledger', 'verify', '--data', data)).code, 0);
});

test('orphans are shown, and removed on record', async () => {
  const orphan = join(bucket, 'objects', 'ab', `ab${'0'.repeat(62)}.zst`);
  assert.match((await snapshots('purge', '--orphans')).out, /^0 objects/);
  mkdirSync(dirname(orphan), { recursive: true });
  const cut = join(bucket, 'packs', 'cd', `cd${'0'.repeat(62)}.zst`);
  mkdirSync(dirname(cut), { recursive: true });
  writeFileSync(cut, '');
  writeFileSync(orphan, 'left by a crash');
  assert.match((await snapshots('purge', '--orphans')).out, /^0 objects/);
  for (const path of [orphan, cut]) utimesSync(path, daysAgo(3), daysAgo(3));
  assert.match((await snapshots('purge', '--orphans')).out, /^2 objects that no recovery point names \(15 bytes\)\.\nNothing was removed/);
  assert.match((await snapshots('purge', '--orphans', '--yes', '--token', token)).out, /2 were removed/);
  assert.equal(inBucket().length, 1);
});

test('its help shows examples of each', async () => {
  for (const command of [[], ['list'], ['show'], ['verify'], ['export'], ['purge']]) {
    const { code, out } = await backstop('snapshots', ...command, '--help');
    assert.ok(code === 0 && out.includes('Usage: backstop snapshots'), command.join());
  }
});
