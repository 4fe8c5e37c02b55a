/**
 * What a manifest says can be read back as it was written, and nothing else passes for one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Hex } from '../../lib/sha256.ts';
import { Failure } from '../failure.ts';
import { chunksOf, fingerprintOf, readManifest, sizeOf, writeManifest, type KeptTable, type Manifest } from './manifest.ts';

const digest = sha256Hex('x');
const chunk = (rows: number, bytes: number): { name: string; rows: number; bytes: number } => ({ name: `objects/${digest.slice(0, 2)}/${digest}.zst`, rows, bytes });
const shape = { name: 'app."Odd name"', columns: ['id', '"a b"'], types: ['bigint', 'text'], key: ['id'], alwaysIdentity: [], partitions: [] };
const table: KeptTable = {
  ...shape, fingerprint: fingerprintOf(shape),
  before: { rows: 1, bytes: 6, sha256: sha256Hex('1\ta\\n\n'), inline: '1\ta\\n\n' },
  after: { rows: 5, bytes: 100, sha256: digest, chunks: [chunk(2, 40), chunk(3, 60)] },
};
const manifest: Manifest = {
  format: 1, id: 'rp_01kc0000000000000000', actions: ['act_1', 'act_2'], agent: 'invoicer', sessionId: 'ses_1', database: 'shop',
  server: { systemId: '7523456789012345678', major: 18, timeline: 1 }, xid: '18446744073709551615', lsn: '16/B374D848',
  createdAt: '2026-11-21T19:00:00.000Z', verifiedAt: '2026-11-21T19:00:00.012Z', method: 'rows',
  coverage: { scope: 'exact-rows', sentence: 'Every changed row can be put back.', lost: [] },
  settings: { DateStyle: 'ISO, MDY' }, tables: [table], definition: { steps: ['CREATE TABLE …'] }, texts: ['DELETE FROM t WHERE id = $1'],
};
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

test('a manifest is read as it was written, in one line that is the same whatever the order of its parts', () => {
  const text = writeManifest(manifest);
  assert.deepEqual(readManifest(text), manifest);
  assert.ok(!text.includes('\n'));
  assert.equal(writeManifest(Object.fromEntries(Object.entries(manifest).reverse()) as unknown as Manifest), text);
});

test('a manifest without a definition is read without one', () => {
  const { definition, ...rest } = manifest;
  assert.ok(definition !== undefined);
  assert.deepEqual(readManifest(writeManifest(rest)), rest);
});

test('what it needs and how large it is are those of all its images', () => {
  assert.deepEqual(chunksOf(manifest).map(({ rows }) => rows), [2, 3]);
  assert.deepEqual(sizeOf(manifest), { rows: 6, bytes: 106 });
});

test('a manifest of a newer Backstop is not taken for a broken one', () => {
  assert.throws(() => readManifest(JSON.stringify({ format: 2, whatever: true })), failsWith('data_version'));
});

const changedTable = (change: object): object => ({ ...manifest, tables: [{ ...table, ...change }] });
const broken: readonly (readonly [why: string, text: string])[] = [
  ['no JSON', '{"format":1'],
  ['nothing', 'null'],
  ['no manifest', '{}'],
  ['a format that is no number', JSON.stringify({ ...manifest, format: '1' })],
  ['an older format than the first', JSON.stringify({ ...manifest, format: 0 })],
  ['a member that nobody knows', JSON.stringify({ ...manifest, more: 1 })],
  ['no actions', JSON.stringify({ ...manifest, actions: [] })],
  ['an xid that is SQL', JSON.stringify({ ...manifest, xid: "1'" })],
  ['a chunk outside of the bucket', JSON.stringify(changedTable({ content: { rows: 1, bytes: 1, sha256: digest, chunks: [{ ...chunk(1, 1), name: `objects/../${digest}.zst` }] } }))],
  ['rows both inline and in chunks', JSON.stringify(changedTable({ content: { rows: 1, bytes: 1, sha256: digest, inline: 'a', chunks: [chunk(1, 1)] } }))],
  ['rows nowhere', JSON.stringify(changedTable({ content: { rows: 0, bytes: 0, sha256: digest } }))],
  ['a chunk is missing', JSON.stringify(changedTable({ after: { rows: 5, bytes: 100, sha256: digest, chunks: [chunk(2, 40)] } }))],
  ['a column fewer than its fingerprint was taken of', JSON.stringify(changedTable({ columns: ['id'] }))],
];
for (const [why, text] of broken) {
  test(`it is broken: ${why}`, () => { assert.throws(() => readManifest(text), failsWith('recovery_point_broken')); });
}
