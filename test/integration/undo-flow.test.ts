/**
 * The undo of actions as an operator asks for it: on record in the operator's name, itself undoable, all or nothing, and
 * never over the edits of others; whatever is wrong with what was kept, nothing is changed.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { Failure, type FailureCode } from '../../src/core/failure.ts';
import type { EntryBody, VerdictBody } from '../../src/core/ledger/entry.ts';
import type { UndoPolicy, UndoReport } from '../../src/core/recovery/undo-plan.ts';
import { applyUndo, planUndo } from '../../src/flow/undo.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { withStore } from '../fixtures/store.ts';
import { startUndoFlow, type UndoFlow } from '../fixtures/undo-flow.ts';
import { stateOf } from '../fixtures/undo-scene.ts';

let server: PostgresServer;
let flow: UndoFlow;
before(async () => { server = await startPostgresServer({ max_locks_per_transaction: '10', max_connections: '20' }); });
after(async () => {
  await flow?.close();
  await server?.stop();
});
beforeEach(async () => {
  await flow?.close();
  await server.run(`DROP TABLE IF EXISTS public.items, public.orders; CREATE TABLE public.orders (id int PRIMARY KEY, who text, note text);
    CREATE TABLE public.items (id int PRIMARY KEY, order_id int REFERENCES public.orders ON DELETE CASCADE, price numeric(8,2));
    INSERT INTO public.orders SELECT i, 'who ' || i, NULL FROM generate_series(1, 5) i; INSERT INTO public.items SELECT i, (i - 1) / 2 + 1, i * 1.50 FROM generate_series(1, 10) i`);
  flow = await startUndoFlow(server.url());
});

const tables = ['public.orders', 'public.items'];
const refuse: UndoPolicy = { onConflict: 'refuse', merges: false };
const state = (): Promise<readonly string[]> => stateOf(flow.link, tables);
const undo = (ids: readonly string[], policy = refuse): Promise<UndoReport> => applyUndo(flow.deps, flow.token, { kind: 'ids', ids }, policy);
/** Each value by its table, key and column. */
async function cells(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const table of tables) {
    for (const [json] of (await flow.link.query(`SELECT to_jsonb(t)::text FROM ${table} t`)).rows) {
      const row = JSON.parse(json ?? '{}') as Record<string, unknown>;
      for (const [column, value] of Object.entries(row)) found.set(`${table} ${String(row['id'])} ${column}`, JSON.stringify(value));
    }
  }
  return found;
}
async function entries(): Promise<readonly EntryBody[]> { return (await flow.store.ledger.entriesAfter(0, 1_000)).map(({ body }) => JSON.parse(body) as EntryBody); }
const fails = (code: FailureCode, text: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof Failure, String(error));
  assert.match(`${error.message} ${error.detail ?? ''}`, text);
  assert.equal(error.code, code);
  return true;
};

describe('an undo', () => {
  it('puts back what an action and its cascades took, says so on record, and can be undone again and again', async () => {
    const was = await state();
    const action = await flow.act('DELETE FROM public.orders WHERE id <= 2', tables);
    const gone = await state();
    assert.equal(gone.length, 9);
    const report = await undo([action]);
    assert.deepEqual(await state(), was);
    assert.deepEqual(report.points.map(({ actionIds, changes }) => [actionIds, changes.map(({ table, insert }) => [table, insert])]), [[[action], [['public.orders', 2], ['public.items', 4]]]]);
    const own = report.applied?.actionId ?? assert.fail();
    const verdict = (await entries()).find((entry): entry is VerdictBody => entry.kind === 'verdict' && entry.actionId === own);
    assert.deepEqual([verdict?.agent, verdict?.text, verdict?.decision], ['olga', `undo ${action}`, 'allow']);
    await assert.rejects(undo([action]), fails('conflict', /was undone already/));
    const again = await undo([own]);
    assert.deepEqual(await state(), gone);
    await undo([again.applied?.actionId ?? assert.fail()]);
    assert.deepEqual(await state(), was);
    assert.deepEqual((await entries()).filter((entry) => entry.kind === 'recovery-point').map(({ change }) => change), ['sealed', 'sealed', 'undone', 'sealed', 'undone', 'committed', 'sealed', 'undone', 'committed', 'undone']);
  });

  it('that is only looked at changes nothing, in the table or on record', async () => {
    const action = await flow.act("UPDATE public.orders SET who = 'x'", tables);
    const [is, record] = [await state(), await entries()];
    const report = await planUndo(flow.deps, { kind: 'ids', ids: [action] }, refuse);
    assert.equal(report.applied, undefined);
    assert.equal(report.points[0]?.changes[0]?.['put-back'], 5);
    assert.deepEqual(await state(), is);
    assert.deepEqual(await entries(), record);
  });

  it('of several actions of a time goes newest first, in one transaction', async () => {
    const was = await state();
    for (const [index, sql] of ["UPDATE public.orders SET note = 'one'", "UPDATE public.orders SET note = note || ' two' WHERE id > 2", 'DELETE FROM public.orders WHERE id = 3', "INSERT INTO public.orders VALUES (3, 'new', 'three')"].entries()) {
      await flow.act(sql, tables, index === 1 ? 'eve' : 'ada');
    }
    const report = await applyUndo(flow.deps, flow.token, { kind: 'window', since: '2000-01-01T00:00:00.000Z' }, refuse);
    assert.deepEqual(report.points.map(({ texts }) => texts[0]?.slice(0, 6)), ['INSERT', 'DELETE', 'UPDATE', 'UPDATE']);
    assert.deepEqual(await state(), was);
    await undo([report.applied?.actionId ?? assert.fail()]);
    assert.ok((await state()).includes('public.orders (3,new,three)'));
    await assert.rejects(applyUndo(flow.deps, flow.token, { kind: 'window', agent: 'nobody' }, refuse), fails('not_found', /no action of then/));
  });

  it('of more actions than the server has locks for temporary tables is one transaction all the same', async () => {
    const was = await state();
    for (let n = 0; n < 150; n += 1) await flow.act(`UPDATE public.orders SET note = '${n}' WHERE id = ${n % 5 + 1}`, ['public.orders']);
    const report = await applyUndo(flow.deps, flow.token, { kind: 'window', agent: 'ada' }, refuse);
    assert.equal(report.points.length, 150);
    assert.deepEqual(await state(), was);
  });

  it('of one agent alone meets what others did since as conflicts', async () => {
    await flow.act("UPDATE public.orders SET note = 'ada' WHERE id = 1", tables, 'ada');
    await flow.act("UPDATE public.orders SET note = 'eve' WHERE id = 1", tables, 'eve');
    const is = await state();
    await assert.rejects(applyUndo(flow.deps, flow.token, { kind: 'window', agent: 'ada' }, refuse), fails('conflict', /public\.orders \(1\): what the action had changed was edited since/));
    assert.deepEqual(await state(), is);
    assert.equal((await entries()).findLast((entry) => entry.kind === 'outcome')?.outcome, 'rolled-back');
  });

  it('that leaves conflicts can be done again for the rest', async () => {
    const action = await flow.act("UPDATE public.orders SET note = 'x'", tables);
    await flow.link.query("UPDATE public.orders SET note = 'mine' WHERE id = 2");
    const report = await undo([action], { onConflict: 'skip', merges: false });
    assert.equal(report.rowsLeft, 1);
    assert.deepEqual((await state()).filter((row) => row.includes('mine')), ['public.orders (2,"who 2",mine)']);
    await undo([action], { onConflict: 'force', merges: false });
    assert.ok((await state()).every((row) => !row.includes('mine')));
  });

  it('of what is as before already changes nothing and counts as done', async () => {
    const action = await flow.act("UPDATE public.orders SET note = 'x'", tables);
    await flow.link.query('UPDATE public.orders SET note = NULL');
    const report = await undo([action]);
    assert.equal(report.applied?.recoveryPointId, null);
    await assert.rejects(undo([action]), fails('conflict', /was undone already/));
  });

  it('finds an action by the beginning of its id, if it is clear', async () => {
    const action = await flow.act("UPDATE public.orders SET note = 'x'", tables);
    await flow.act("UPDATE public.orders SET note = 'y'", tables);
    assert.equal((await planUndo(flow.deps, { kind: 'ids', ids: [action.slice(0, -2)] }, refuse)).points.length, 1);
    await assert.rejects(planUndo(flow.deps, { kind: 'ids', ids: [action.slice(0, 9)] }, refuse), fails('usage', /begins the ids of several/));
    await assert.rejects(planUndo(flow.deps, { kind: 'ids', ids: ['act_'] }, refuse), fails('usage', /is no id/));
    await assert.rejects(planUndo(flow.deps, { kind: 'ids', ids: ['act_0000000000000000'] }, refuse), fails('not_found', /nothing was captured/));
  });

  it('needs an operator', async () => {
    const action = await flow.act("UPDATE public.orders SET note = 'x'", tables);
    const is = await state();
    await assert.rejects(applyUndo(flow.deps, 'nonsense', { kind: 'ids', ids: [action] }, refuse), fails('not_permitted', /./));
    assert.deepEqual(await state(), is);
  });
});

describe('what fell', () => {
  it('is made again with its rows, together with rows that were changed before, in one transaction', async () => {
    const was = await state();
    await flow.act('DELETE FROM public.orders WHERE id = 1', tables);
    const dropped = await flow.take('DROP TABLE public.items');
    const looked = await planUndo(flow.deps, { kind: 'ids', ids: [dropped] }, refuse);
    assert.deepEqual(looked.points.map(({ changes }) => changes.map(({ table, insert }) => [table, insert])), [[['public.items', 8]]]);
    assert.ok(looked.points[0]?.made.includes('relation public.items'), looked.points[0]?.made.join());
    await assert.rejects(flow.link.query('SELECT FROM public.items'), /does not exist/);
    const report = await applyUndo(flow.deps, flow.token, { kind: 'window', agent: 'ada' }, refuse);
    assert.deepEqual(await state(), was);
    await assert.rejects(undo([dropped]), fails('conflict', /was undone already/));
    // Undone again, the rows go and the table stays.
    await undo([report.applied?.actionId ?? assert.fail()]);
    assert.equal((await state()).length, 4 + 8);
    await assert.rejects(undo([dropped]), fails('conflict', /was undone already/));
  });

  it('does not come back over what took its name since, and says so', async () => {
    const dropped = await flow.take('DROP TABLE public.items');
    await flow.link.query('CREATE TABLE public.items (id int PRIMARY KEY)');
    const is = await state();
    for (const onConflict of ['refuse', 'skip', 'force'] as const) {
      await assert.rejects(undo([dropped], { onConflict, merges: false }), fails('conflict', /cannot be undone without overwriting.*public\.items: something of that name was made since/s));
      assert.deepEqual(await state(), is);
    }
  });

  it('is truncated rows too', async () => {
    const was = await state();
    const truncated = await flow.take('TRUNCATE public.orders CASCADE');
    await flow.link.query("INSERT INTO public.orders VALUES (1, 'mine', NULL)");
    await assert.rejects(undo([truncated]), fails('conflict', /public\.orders/));
    await undo([truncated], { onConflict: 'force', merges: false });
    assert.deepEqual(await state(), was);
  });
});

describe('a store that was lost', () => {
  it('loses no undo: the storage knows by itself what would undo an action', async () => {
    const was = await state();
    const action = await flow.act('DELETE FROM public.orders', tables);
    const dropped = await flow.take('DROP TABLE public.items');
    await withStore(async ({ ledger, recoveryPoints, identities }) => {
      const { token } = await identities.addOperator('boss');
      const deps = { ...flow.deps, ledger, identities, points: recoveryPoints };
      for (const id of [dropped, action]) {
        const report = await applyUndo(deps, token, { kind: 'ids', ids: [id] }, refuse);
        assert.deepEqual(report.points.map(({ actionIds }) => actionIds), [[id]]);
      }
      await assert.rejects(applyUndo(deps, token, { kind: 'ids', ids: ['act_00000000000000000000'] }, refuse), fails('not_found', /nothing was captured/));
    });
    assert.deepEqual(await state(), was);
  });
});

describe('what was kept', () => {
  it('and is not the same any more is refused by name, and nothing is changed', async () => {
    const action = await flow.act("UPDATE public.orders SET note = repeat(md5(id::text), 10000)", tables);
    const is = await state();
    const objects = readdirSync(flow.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    assert.ok(objects.length >= 2);
    for (const path of objects) {
      const bytes = readFileSync(path);
      const broken = Buffer.from(bytes);
      broken[broken.length >> 1] = (broken[broken.length >> 1] ?? 0) ^ 1;
      writeFileSync(path, broken);
      await assert.rejects(undo([action]), fails('recovery_point_broken', /is not what was stored there/));
      assert.deepEqual(await state(), is);
      writeFileSync(path, bytes);
    }
    await undo([action]);
    assert.ok((await state()).every((row) => !/[0-9a-f]{32}/.test(row)));
  });

  it('cannot be undone while somebody holds a row of it, and is told so', async () => {
    const action = await flow.act("UPDATE public.orders SET note = 'x'", tables);
    const is = await state();
    await flow.link.query('BEGIN');
    await flow.link.query("UPDATE public.orders SET note = 'mine' WHERE id = 1");
    await assert.rejects(undo([action]), fails('conflict', /55P03/));
    await flow.link.query('ROLLBACK');
    assert.deepEqual(await state(), is);
  });
});

describe('an answer to COMMIT that nobody hears', () => {
  for (const [what, isLost] of [['that came to pass', false], ['that did not', true]] as const) {
    it(`${what} is found out at the server`, async () => {
      const was = await state();
      const action = await flow.act('DELETE FROM public.orders', tables);
      const gone = await state();
      const deps = {
        ...flow.deps, begin: async (database: string) => {
          const transaction = await flow.deps.begin(database);
          return { ...transaction, commit: async (xid: string) => {
            // The connection is cut on the other side, before or after the server took COMMIT.
            if (!isLost) await transaction.commit(xid);
            else await server.run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = '${xid}'::xid`);
            return transaction.commit(xid);
          } };
        },
      };
      const result = applyUndo(deps, flow.token, { kind: 'ids', ids: [action] }, refuse);
      if (isLost) await assert.rejects(result, fails('upstream_unavailable', /rolled the undo back/));
      else await result;
      assert.deepEqual(await state(), isLost ? gone : was);
    });
  }
});

describe('edits of others', () => {
  const edit = fc.oneof(
    fc.tuple(fc.integer({ min: 1, max: 7 }), fc.constantFrom('mine', 'who 1', 'x')).map(([id, text]) => `UPDATE public.orders SET who = '${text}' WHERE id = ${id}`),
    fc.integer({ min: 1, max: 7 }).map((id) => `UPDATE public.orders SET note = 'mine' WHERE id = ${id}`),
    fc.integer({ min: 1, max: 7 }).map((id) => `DELETE FROM public.orders WHERE id = ${id}`),
    fc.integer({ min: 1, max: 7 }).map((id) => `INSERT INTO public.orders VALUES (${id}, 'mine', 'mine') ON CONFLICT DO NOTHING`),
    fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 7 })).map(([id, order]) => `INSERT INTO public.items SELECT ${id}, id, 7 FROM public.orders WHERE id = ${order} ON CONFLICT (id) DO UPDATE SET order_id = excluded.order_id`),
  );
  const action = fc.constantFrom("UPDATE public.orders SET who = 'x' WHERE id < 4", 'DELETE FROM public.orders WHERE id > 2', "INSERT INTO public.orders VALUES (6, 'x', 'x'), (7, 'x', 'x')", 'UPDATE public.orders SET id = 7 WHERE id = (SELECT id FROM public.orders WHERE NOT EXISTS (SELECT FROM public.items WHERE order_id = orders.id) LIMIT 1)', 'UPDATE public.items SET price = price + 1, order_id = 1');

  it('between an action and its undo are never lost: each row is as before the action, or as they left it', async () => {
    let [left, whole] = [0, 0];
    await fc.assert(fc.asyncProperty(action, fc.array(edit, { maxLength: 4 }), fc.boolean(), async (sql, edits, merges) => {
      await flow.link.query('TRUNCATE public.orders, public.items');
      await flow.link.query("INSERT INTO public.orders SELECT i, 'who ' || i, NULL FROM generate_series(1, 5) i");
      await flow.link.query('INSERT INTO public.items SELECT i, i, i FROM generate_series(1, 4) i');
      const was = new Set(await state());
      const cellsWere = await cells();
      const id = await flow.act(sql, tables);
      const [acted, cellsActed] = [new Set(await state()), await cells()];
      for (const one of edits) await flow.link.query(one);
      const [edited, cellsEdited] = [new Set(await state()), await cells()];
      const wanted = { kind: 'ids', ids: [id] } as const;
      if ((await flow.store.recoveryPoints.ofAction(id)).length === 0) return;
      const report = await applyUndo(flow.deps, flow.token, wanted, { onConflict: 'skip', merges });
      const is = new Set(await state());
      const isOurs = (row: string): boolean => was.has(row) || edited.has(row);
      // What somebody wrote is still there, unless the whole row is as before the action again.
      for (const row of edited) if (!acted.has(row) && !is.has(row)) assert.ok(merges, `lost ${row}`);
      for (const row of is) if (!isOurs(row)) assert.ok(merges, `invented ${row}`);
      const cellsAre = await cells();
      for (const [cell, value] of cellsEdited) {
        if (value === cellsActed.get(cell)) continue;
        assert.ok(cellsAre.get(cell) === value || cellsAre.get(cell) === cellsWere.get(cell), `lost ${cell}: ${value}`);
        if (merges && cellsWere.get(cell) !== undefined && cellsActed.get(cell) === cellsWere.get(cell)) assert.equal(cellsAre.get(cell), value, `lost an edit beside the action: ${cell}`);
      }
      for (const [cell, value] of cellsAre) assert.ok([cellsWere, cellsEdited].some((known) => known.get(cell) === value), `invented ${cell}: ${value}`);
      if (report.rowsLeft === 0 && edits.length === 0) assert.deepEqual(is, was);
      if (report.rowsLeft > 0) left += 1; else whole += 1;
      const own = report.applied?.actionId ?? assert.fail();
      if (report.applied?.recoveryPointId !== null) await undo([own]);
      assert.deepEqual(new Set(await state()), edited);
    }), { numRuns: Number(process.env['UNDO_CASES'] ?? 60) });
    assert.ok(left > 5 && whole > 5, `${left} left rows, ${whole} did not`);
  });
});
