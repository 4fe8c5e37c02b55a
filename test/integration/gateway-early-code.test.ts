/**
 * Code that PostgreSQL runs before any Execute: parsing makes values of literals that take a user's type, and planning
 * calls functions that are declared immutable. Each attack is sent to a real server behind a whole Backstop; a sequence
 * tells whether its code ran, since no rollback takes that back.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { encodeBind, encodeExecute, encodeParse, encodeQuery, encodeSync } from '../../src/lib/pgwire/frontend-encode.ts';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { connectWire } from '../fixtures/wire-client.ts';

const cutName = 's'.repeat(63);
const hazards = `
SET ROLE shopkeeper;
CREATE SEQUENCE hit;
CREATE FUNCTION strike() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.hit''); RETURN 1; END';
CREATE FUNCTION folded(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM nextval(''public.hit''); RETURN 1; END';
CREATE SCHEMA ${cutName};
CREATE VIEW ${cutName}.notes AS SELECT public.strike() AS id;`;
/** Made later: with such types in the database, parsing alone is refused before Bind is looked at. */
const types = `
SET ROLE shopkeeper;
CREATE DOMAIN checked AS text CHECK (public.strike() = 1);
CREATE TYPE pair AS (a checked, b int);
CREATE FUNCTION takes(pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';`;

let backstop: RunningBackstop;
let pairOid = 0;
before(async () => {
  backstop = await startBackstop({ waitSeconds: 0 });
  await backstop.upstream.run(hazards, 'shop');
});
after(() => backstop.stop());

const parse = (statement: string, sql: string, ...parameterTypes: number[]): Buffer => encodeParse({ statement, sql, parameterTypes });
const bind = (portal: string, statement: string, ...values: Buffer[]): Buffer => encodeBind({ portal, statement, formats: [], values, resultFormats: [] });
const execute = (portal: string): Buffer => encodeExecute({ portal, rowsMax: 0 });
const pair = Buffer.from('(x,1)');

type Attack = readonly [claim: string, messages: () => readonly Buffer[]];
const planning: readonly Attack[] = [
  ['is not planned by a Bind alone', () => [parse('a', 'SELECT folded(1)'), bind('', 'a')]],
  ['nor by a Bind that another replaces', () => [parse('a', 'SELECT folded(1)'), parse('b', 'SELECT 1'), bind('', 'a'), bind('', 'b'), execute('')]],
  ['nor by a Bind that fails behind it', () => [parse('a', 'SELECT folded(1)'), parse('b', 'SELECT 1'), bind('p', 'a'), bind('p', 'b'), execute('p')]],
  ['nor when another portal is executed in between', () => [
    parse('a', 'SELECT folded(1)'), parse('b', 'SELECT 1'), bind('p', 'a'), bind('q', 'b'), execute('q'), execute('p'),
  ]],
];
const parsing: readonly Attack[] = [
  ['is not parsed alone', () => [parse('', "SELECT '(x,1)'::pair")]],
  ['nor with an Execute that is held', () => [parse('', "SELECT '(x,1)'::pair"), bind('', ''), execute('')]],
  ['nor as an array of a checked domain', () => [parse('', "SELECT '{x}'::checked[]")]],
  ['nor as the argument of a function', () => [parse('', "SELECT takes('(x,1)')")]],
  ['nor bound alone as a parameter', () => [parse('', 'SELECT $1', pairOid), bind('', '', pair)]],
  ['nor bound and replaced before it is executed', () => [parse('', 'SELECT $1', pairOid), parse('b', 'SELECT 1'), bind('', '', pair), bind('', 'b'), execute('')]],
  ['nor as the argument of an EXECUTE, whose text does not name the type', () => [parse('w', 'SELECT $1', pairOid), encodeQuery("EXECUTE w('(x,1)')")]],
  ['nor as the argument of an EXECUTE of what PREPARE gave that type', () => [encodeQuery("PREPARE w (pair) AS SELECT 1; EXECUTE w('(x,1)')")]],
];

describe('an immutable function', () => {
  for (const [claim, messages] of planning) test(claim, () => harmless(...messages(), encodeSync()));
});

describe('a value of a composite type with a checked domain', () => {
  before(async () => {
    await backstop.upstream.run(types, 'shop');
    pairOid = Number((await backstop.upstream.run("SELECT 'pair'::regtype::oid AS oid", 'shop'))[0]?.['oid']);
    // A Parse is judged by a catalog of up to a second ago, unless something riskier has it compared.
    await harmless(encodeQuery('SELECT strike()'));
  });
  for (const [claim, messages] of parsing) test(claim, () => harmless(...messages(), encodeSync()));
});

test('a name in the search_path that the server cuts does not lead a read elsewhere', () =>
  harmless(encodeQuery(`SET search_path = '${'s'.repeat(70)}', public; SELECT * FROM notes`)));

async function harmless(...messages: readonly Buffer[]): Promise<void> {
  const client = await connectWire({
    host: backstop.host, port: backstop.port, user: backstop.agent.name, password: backstop.agent.token, parameters: { database: 'shop' },
  });
  const lines = await client.send(...messages).until('Z');
  client.end();
  assert.ok(lines.some((line) => line.startsWith('E:')), `refused: ${lines.join(' ')}`);
  assert.deepEqual(await backstop.upstream.run('SELECT is_called FROM public.hit', 'shop'), [{ is_called: false }]);
}
