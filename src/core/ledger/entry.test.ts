/** The chain of ledger entries: any change, gap or cut is found at the first entry it touches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chainEntry, checkEntry, checkHead, genesis, writeBody, type AdminBody, type Head, type StoredEntry } from './entry.ts';

const body = (subject: string): AdminBody => ({ kind: 'admin', what: 'agent-added', by: 'operator', subject, note: null });
const at = '2026-11-21T00:00:00.000Z';

function chainOf(subjects: readonly string[]): StoredEntry[] {
  let head: Head = genesis;
  return subjects.map((subject) => {
    const entry = chainEntry(head, at, writeBody(body(subject)));
    head = entry;
    return entry;
  });
}

function firstBroken(entries: readonly StoredEntry[], head: Head): number | undefined {
  let last: Head = genesis;
  for (const entry of entries) {
    const checked = checkEntry(last, entry);
    if (checked.kind === 'broken') return checked.broken.seq;
    last = checked.head;
  }
  return checkHead(last, head)?.seq;
}

test('an untouched chain holds', () => {
  const chain = chainOf(['a', 'b', 'c']);
  assert.equal(firstBroken(chain, chain[2] ?? genesis), undefined);
  assert.equal(firstBroken([], genesis), undefined);
});

test('any change of any field of any entry is found at that entry', () => {
  fc.assert(fc.property(
    fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 8 }), fc.nat(), fc.constantFrom('at', 'kind', 'body', 'hash'), fc.nat(),
    (subjects, which, field, where) => {
      const chain = chainOf(subjects);
      const index = which % chain.length;
      const entry = chain[index];
      assert.ok(entry !== undefined);
      const text = entry[field as 'at'];
      const place = where % text.length;
      const changed = `${text.slice(0, place)}${text[place] === '0' ? '1' : '0'}${text.slice(place + 1)}`;
      const broken = firstBroken(chain.with(index, { ...entry, [field]: changed }), chain.at(-1) ?? genesis);
      assert.equal(broken, index + 1);
    },
  ));
});

test('a missing, swapped, repeated or cut-off entry is named', () => {
  const chain = chainOf(['a', 'b', 'c', 'd']);
  const [a, b, c, d] = chain;
  assert.ok(a && b && c && d);
  assert.equal(firstBroken([a, c, d], d), 2);
  assert.equal(firstBroken([a, c, b, d], d), 2);
  assert.equal(firstBroken([a, b, b, c, d], d), 3);
  assert.equal(firstBroken([a, b], d), 3);
  assert.equal(firstBroken([a, b, c, d], b), 3);
  assert.equal(firstBroken(chainOf(['a', 'b', 'c', 'x']), d), 4);
});
