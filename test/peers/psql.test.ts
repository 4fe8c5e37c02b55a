/**
 * A newcomer's first session, step by step: `backstop up` with its demo database, the connection string that it prints,
 * psql as the agent, and the command line as the operator. Nothing here knows Backstop from the inside.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { runProgram, type Ended } from '../fixtures/run-program.ts';
import { until } from '../fixtures/until.ts';
import { missing } from './peer.ts';

const skip = missing('psql');
const folder = mkdtempSync(join(tmpdir(), 'backstop-psql-'));
let backstop: BackstopProcess;
let url: string;
async function start(waitSeconds: number): Promise<void> {
  backstop = await startBackstopProcess({ flags: ['--approval-wait', String(waitSeconds)] });
  url = /postgres(?:ql)?:\/\/[^\s'"]+/.exec(backstop.printed())?.[0] ?? 'none was printed';
}
// Long enough for the command line of a busy machine.
before(async () => { if (skip === false) await start(50); });
after(async () => {
  await backstop?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** One psql session that reads its commands from standard input, as a person would type them. */
const psql = (...lines: readonly string[]): Promise<Ended> =>
  runProgram('psql', ['-X', '-q', '-A', '-t', '-v', 'VERBOSITY=verbose', '-P', 'pager=off', url], { input: `${lines.join('\n')}\n`, env: { LC_ALL: 'C.UTF-8' } });

interface Held { readonly id: string; readonly text: string }
const answered = new Set<string>();

/** The next approval that waits for an answer, as `approvals list --json` shows it. */
const nextHold = (): Promise<Held> => until('a statement is held', async () => {
  const { stdout } = await backstop.cli('approvals', 'list', '--json');
  for (const text of stdout.split('\n').filter((line) => line.trim() !== '')) {
    const id = /"id"\s*:\s*"(apr_[^"]+)"/.exec(text)?.[1];
    if (id !== undefined && /"pending"/.test(text) && !answered.has(id)) {
      answered.add(id);
      return { id, text };
    }
  }
  return undefined;
});
const answer = async (...args: readonly string[]): Promise<Ended> => {
  const ended = await backstop.cli('approvals', ...args);
  assert.equal(ended.code, 0, ended.stderr);
  return ended;
};

const noError = ({ stdout, stderr }: Ended): string => { assert.doesNotMatch(stderr, /ERROR|FATAL/, stderr); return stdout.trim(); };

describe('a newcomer’s session in psql', { skip }, () => {
  it('reads', async () => {
    const rows = noError(await psql('SELECT count(*) > 0 FROM customers;', 'SELECT count(*) > 0 FROM payments;', '\\conninfo'));
    assert.match(rows, /^t\nt\n/);
  });

  it('adds a row and changes one unasked', async () => {
    assert.equal(noError(await psql("INSERT INTO customers (id, name, email) VALUES (900001, 'New', 'new@example.test') RETURNING id;")), '900001');
    assert.equal(noError(await psql("UPDATE customers SET name = 'Newer' WHERE id = 900001;", 'SELECT name FROM customers WHERE id = 900001;')), 'Newer');
  });

  it('sees a held UPDATE of many rows run once it is approved', async () => {
    const update = psql("UPDATE customers SET tier = tier WHERE id <= 4000;", 'SELECT 1;');
    const { id } = await nextHold();
    const shown = noError(await answer('show', id));
    assert.match(shown, /UPDATE customers[^]*It can be undone to the exact rows/i);
    await answer('approve', id);
    const ended = await update;
    assert.equal(noError(ended), '1');
    assert.match(ended.stderr, new RegExp(`NOTICE[^]*${id}`));
  });

  it('sees one fail once it is denied', async () => {
    const before = noError(await psql('SELECT amount FROM payments WHERE id = 1;'));
    const update = psql('UPDATE payments SET amount = amount + 1 WHERE id <= 4000;', 'SELECT amount FROM payments WHERE id = 1;');
    await answer('deny', (await nextHold()).id, '--reason', 'ask finance first');
    const { stdout, stderr } = await update;
    assert.match(stderr, /ERROR: {2}42501/);
    assert.match(stderr, /ask finance first/);
    assert.match(stderr, /HINT/);
    assert.equal(stdout.trim(), before, 'nothing changed, and the session went on');
  });

  for (const statement of ['DELETE FROM payments', 'DROP TABLE customers']) {
    it(`waits with ${statement}, is refused it with the reason, and the session goes on`, async () => {
      const refused = psql(`${statement};`, 'SELECT count(*) > 0 FROM payments;', 'SELECT count(*) > 0 FROM customers;');
      await answer('deny', (await nextHold()).id, '--reason', 'not in this life');
      const { stdout, stderr } = await refused;
      assert.match(stderr, /ERROR: {2}42501[^]*not in this life/);
      assert.match(stderr, /DETAIL: {2}[^]*CRITICAL/);
      assert.match(stderr, /HINT: /);
      assert.equal(stdout.trim(), 't\nt');
    });
  }

  it('finds an aborted transaction after a refusal inside BEGIN, which ROLLBACK ends', async () => {
    const { stdout, stderr } = await psql('BEGIN;', "COPY payments TO PROGRAM 'true';", 'SELECT 1;', 'ROLLBACK;', 'SELECT 2;');
    assert.match(stderr, /42501[^]*25P02/);
    assert.equal(stdout.trim(), '2');
  });

  for (const command of ['\\d', '\\d customers', '\\d+ orders', '\\dt', '\\dt+', '\\dv', '\\di', '\\ds', '\\df', '\\dn', '\\l', '\\du', '\\dx', '\\dT', '\\dp', '\\drds', '\\db', '\\dconfig work_mem', '\\sv+ pg_catalog.pg_tables', '\\sf pg_catalog.lower(text)', '\\encoding']) {
    it(`answers ${command} without a hold`, async () => {
      const { stderr } = await psql(command);
      // A psql older than the server asks for columns that are no more (\\l of 15): that is the server's own answer.
      assert.doesNotMatch(stderr, /Backstop|apr_|ERROR: {2}(?!42703)/);
    });
  }

  it('copies out with \\copy', async () => {
    const file = join(folder, 'out.csv');
    noError(await psql(`\\copy (SELECT id FROM payments ORDER BY id LIMIT 3) TO '${file}' CSV HEADER`));
    assert.equal(readFileSync(file, 'utf8').split('\n')[0], 'id');
  });

  it('copies in with \\copy, which only adds rows', async () => {
    const file = join(folder, 'in.csv');
    writeFileSync(file, '900,Copied\n');
    assert.equal(noError(await psql(`\\copy categories FROM '${file}' CSV`, 'SELECT name FROM categories WHERE id = 900;')), 'Copied');
  });

  it('has \\lo_import judged, though it sends no SQL', async () => {
    const file = join(folder, 'large');
    writeFileSync(file, 'large object');
    const count = 'SELECT count(*) FROM pg_largeobject_metadata;';
    const before = noError(await psql(count));
    const imported = psql(`\\lo_import '${file}'`);
    await answer('deny', (await nextHold()).id, '--reason', 'no large objects');
    assert.match((await imported).stderr, /no large objects/);
    assert.equal(noError(await psql(count)), before);
  });

  it('leaves a record that reads well', async () => {
    const { stdout } = await backstop.cli('log', '--json');
    const lines = stdout.trim().split('\n').map((line): Record<string, unknown> => JSON.parse(line));
    assert.ok(lines.some((line) => line['level'] === 'CRITICAL' && line['verdict'] === 'deny'), 'the refusal of COPY … TO PROGRAM');
    assert.ok(lines.some((line) => line['outcome'] === 'committed'), 'the approved UPDATE');
    assert.doesNotMatch(stdout, /new@example\.test/);
  });

  it('leaves a record that verifies, until one byte of the store is changed', async () => {
    assert.equal(await backstop.interrupt(), 0);
    const sound = await backstop.cli('ledger', 'verify');
    assert.equal(sound.code, 0, sound.stderr);
    const [file = ''] = readdirSync(backstop.dataDir).filter((name) => /\.(db|sqlite)$/.test(name)).map((name) => join(backstop.dataDir, name));
    const bytes = readFileSync(file);
    const at = bytes.indexOf('COPY payments TO PROGRAM');
    assert.ok(at > 0, 'the refused statement is in the store');
    bytes.writeUInt8('c'.charCodeAt(0), at);
    writeFileSync(file, bytes);
    const broken = await backstop.cli('ledger', 'verify');
    assert.equal(broken.code, 5);
    assert.match(`${broken.stdout}${broken.stderr}`, /entry \d+/);
  });
});

describe('a statement that nobody answers while it waits', { skip }, () => {
  before(async () => {
    await backstop.stop();
    await start(1);
  });

  for (const [reply, outcome] of [['approve', 'runs'], ['deny', 'is refused']] as const) {
    it(`${outcome} when the same statement is sent again after the wait and the answer was to ${reply}`, async () => {
      const statement = `UPDATE payments SET amount = amount + ${reply === 'approve' ? 1 : 2} WHERE id <= 4000;`;
      const first = psql(statement);
      const { id } = await nextHold();
      const { stderr } = await first;
      assert.match(stderr, /ERROR: {2}55000/);
      assert.match(stderr, new RegExp(id));
      assert.match(stderr, /same statement again/);
      await answer(reply, id);
      const again = await psql(statement);
      if (reply === 'approve') assert.equal(noError(again), '');
      else assert.match(again.stderr, /ERROR: {2}42501/);
    });
  }
});
