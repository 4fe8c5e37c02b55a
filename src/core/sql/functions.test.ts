/** The reviewed tables against the generated snapshots: nothing volatile is missing, and no row is for nothing. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { builtinFunction } from './functions.ts';
import { actingFunctions } from './functions-acting.ts';
import { extensionFunctions } from './functions-extensions.ts';
import { harmlessFunctions } from './functions-harmless.ts';

interface SnapshotFunctions { readonly functions: readonly (readonly [name: string, args: string, returns: string, flags: string])[] }

const snapshots = [15, 16, 17, 18].map((major) => {
  const parsed: SnapshotFunctions = JSON.parse(readFileSync(new URL(`../../../data/pg-catalog/${major}.json`, import.meta.url), 'utf8'));
  return { major, functions: parsed.functions };
});

for (const { major, functions } of snapshots) {
  test(`every volatile function of PostgreSQL ${major} has been reviewed`, () => {
    const unreviewed = functions.filter(([name, , , flags]) => flags[1] === 'v' && builtinFunction(name) === undefined).map(([name]) => name);
    assert.deepEqual(unreviewed, []);
    assert.ok(functions.length > 3000);
  });
}

test('no function is reviewed twice, and each reviewed one exists in some version', () => {
  const names = [...harmlessFunctions, ...actingFunctions.flatMap((group) => group.names.trim().split(/\s+/))];
  assert.deepEqual(names.filter((name, at) => names.indexOf(name) !== at), []);
  const known = new Set(snapshots.flatMap(({ functions }) => functions.map(([name]) => name)));
  assert.deepEqual(names.filter((name) => !known.has(name)), []);
});

test('whoever destroys says how far it can be brought back', () => {
  for (const group of [...actingFunctions, ...extensionFunctions]) {
    assert.equal(group.destroys === true, group.recoverability !== undefined, group.names);
  }
});

test('functions that take internal arguments alone count as harmless, because SQL cannot call them', () => {
  for (const name of ['brinhandler', 'bthandler', 'ginhandler', 'gisthandler', 'hashhandler', 'spghandler', 'heap_tableam_handler', 'dsnowball_init', 'dsnowball_lexize']) {
    const forms = snapshots.flatMap(({ functions }) => functions.filter((row) => row[0] === name));
    assert.ok(forms.length > 0 && forms.every(([, args]) => args.split(' ').includes('internal')), name);
  }
});
