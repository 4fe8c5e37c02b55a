/**
 * Which types take a value of another type exactly: what is in doubt is no match, because a value that was rounded or cut
 * would be put back as another one without anybody noticing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdsExactly } from './live-tables.ts';

const rows: readonly (readonly [was: string, is: string, holds: boolean])[] = [
  ['integer', 'integer', true], ['integer', 'bigint', true], ['smallint', 'numeric', true], ['bigint', 'integer', false], ['integer', 'numeric(10,2)', false], ['integer', 'double precision', false],
  ['character varying(10)', 'character varying(20)', true], ['character varying(10)', 'character varying(10)', true], ['character varying(10)', 'character varying(9)', false],
  ['character varying(10)', 'character varying', true], ['character varying', 'character varying(10)', false], ['character varying(10)', 'text', true], ['character varying', 'text', true], ['text', 'character varying', false], ['character(5)', 'text', false],
  ['numeric(10,2)', 'numeric', true], ['numeric(10,2)', 'numeric(12,2)', false], ['numeric', 'numeric(10,2)', false],
  ['timestamp with time zone', 'timestamp without time zone', false], ['timestamp without time zone', 'date', false], ['real', 'double precision', false], ['json', 'jsonb', false],
];
for (const [was, is, holds] of rows) test(`${is} ${holds ? 'holds' : 'does not hold'} every ${was}`, () => { assert.equal(holdsExactly(is, was), holds); });
