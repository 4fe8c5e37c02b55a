/**
 * What an ordinary driver (node-postgres) meets when Backstop holds or refuses its statement, under a policy that asks for all:
 * the wait and its notice, both answers, the same statement sent again, the error's fields, and the state that the
 * session is left in. Every write is checked on the server itself, past the gateway.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { askingPolicy, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { sendCancelRequest } from '../fixtures/cancel-request.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { refusalOf } from '../fixtures/pg-error.ts';

let backstop: RunningBackstop;
before(async () => { backstop = await startBackstop({ policy: askingPolicy, waitSeconds: 2 }); });
after(async () => { await backstop?.stop(); });

const viaGateway = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient(backstop.agentUrl(), work);

const count = async (from: string): Promise<number> => Number((await backstop.upstream.run(`SELECT count(*) AS n FROM ${from}`, 'shop'))[0]?.['n']);
const isUsable = async (client: pg.Client): Promise<void> => { assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]); };

describe('a mistyped name', () => {
  it('is refused at once with PostgreSQL\'s own code, and nobody is asked', async () => {
    await viaGateway(async (client) => {
      assert.deepEqual(await refusalOf(client.query('SELECT * FROM custmers')).then(({ code, message }) => [code, message]), ['42P01', 'relation "custmers" does not exist']);
      assert.equal((await refusalOf(client.query('SELECT lowr($1::text)', ['x']))).code, '42883');
      assert.equal((await refusalOf(client.query('SELECT nme FROM customers'))).code, '42703');
      await isUsable(client);
    });
  });
});

describe('a held write', () => {
  it('really happens once it is approved while it waits, and a notice tells how to answer', async () => {
    await viaGateway(async (client) => {
      const notices: string[] = [];
      client.on('notice', (notice) => { notices.push([notice.message, notice.detail, notice.hint].join('\n')); });
      const insert = client.query("INSERT INTO notes VALUES (1001, 'approved') RETURNING id");
      const { id } = await backstop.waitForHold(/INSERT INTO notes/i);
      assert.equal(await count('notes WHERE id = 1001'), 0, 'nothing ran before the answer');
      await backstop.approve(id);
      assert.deepEqual((await insert).rows, [{ id: 1001 }]);
      assert.equal(await count("notes WHERE id = 1001 AND body = 'approved'"), 1);
      assert.match(notices.join('\n'), new RegExp(`${id}`));
      assert.match(notices.join('\n'), /approve/);
      await isUsable(client);
    });
  });

  it('waits in the extended protocol too, with its bind values, and as a named statement', async () => {
    await viaGateway(async (client) => {
      for (const [name, id] of [[undefined, 1010], ['add-note', 1011], ['add-note', 1012]] as const) {
        const query = { text: 'INSERT INTO notes VALUES ($1, $2)', values: [id, `note ${id}`], ...(name === undefined ? {} : { name }) };
        const insert = client.query(query);
        await backstop.approve((await backstop.waitForHold(/INSERT INTO notes/i)).id);
        assert.equal((await insert).rowCount, 1);
      }
      assert.equal(await count('notes WHERE id BETWEEN 1010 AND 1012'), 3);
    });
  });

  it('fails with the reason given, and changes nothing, once it is denied', async () => {
    await viaGateway(async (client) => {
      const update = refusalOf(client.query("UPDATE notes SET body = 'gone' WHERE id = 1"));
      const { id } = await backstop.waitForHold(/UPDATE notes/i);
      await backstop.deny(id, 'not on a Friday');
      const error = await update;
      assert.equal(error.severity, 'ERROR');
      assert.equal(error.code, '42501');
      assert.match([error.message, error.detail].join('\n'), /not on a Friday/);
      assert.match(error.hint ?? '', /do not retry/i);
      assert.equal(await count("notes WHERE id = 1 AND body = 'note 1'"), 1);
      await isUsable(client);
    });
  });

  it('names the approval when the wait ends, runs when the same is sent again after approval, and only once (H92)', async () => {
    await viaGateway(async (client) => {
      const statement = { text: 'UPDATE notes SET body = $1 WHERE id = $2', values: ['sent again', 2] };
      const pending = refusalOf(client.query(statement));
      const { id } = await backstop.waitForHold(/UPDATE notes/i);
      const error = await pending;
      assert.equal(error.code, '55000');
      assert.match([error.message, error.detail, error.hint].join('\n'), new RegExp(id));
      assert.match(error.hint ?? '', /same statement again/);
      assert.equal(await count("notes WHERE id = 2 AND body = 'note 2'"), 1);
      await backstop.approve(id);
      assert.equal((await client.query(statement)).rowCount, 1);
      assert.equal(await count("notes WHERE id = 2 AND body = 'sent again'"), 1);
      const again = refusalOf(client.query(statement));
      await backstop.deny((await backstop.waitForHold(/UPDATE notes/i)).id, 'once is enough');
      assert.equal((await again).code, '42501');
    });
  });

  it('is not covered by an approval given while its dates meant other days', async () => {
    await viaGateway(async (client) => {
      const text = "UPDATE notes SET body = '02/03/2026'::date::text WHERE id = 3";
      const first = refusalOf(client.query(text));
      const { id } = await backstop.waitForHold(/UPDATE notes SET body = \?::date/i);
      await first;
      await backstop.approve(id);
      await client.query("SET datestyle = 'ISO, DMY'");
      const other = refusalOf(client.query(text));
      await backstop.deny((await backstop.waitForHold(/UPDATE notes SET body = \?::date/i)).id, 'another day');
      assert.equal((await other).code, '42501');
      await client.query('RESET datestyle');
      assert.equal((await client.query(text)).rowCount, 1);
      assert.equal(await count("notes WHERE id = 3 AND body = '2026-02-03'"), 1);
    });
  });

  it('is not covered by the approval of other bind values', async () => {
    await viaGateway(async (client) => {
      const text = 'DELETE FROM notes WHERE id = $1';
      const first = refusalOf(client.query(text, [10]));
      const { id } = await backstop.waitForHold(/DELETE FROM notes/i);
      await first;
      await backstop.approve(id);
      const other = refusalOf(client.query(text, [11]));
      const hold = await backstop.waitForHold(/DELETE FROM notes/i);
      assert.notEqual(hold.id, id);
      await backstop.deny(hold.id, 'other row');
      assert.equal((await other).code, '42501');
      assert.equal(await count('notes WHERE id IN (10, 11)'), 2);
      assert.equal((await client.query(text, [10])).rowCount, 1);
    });
  });

  it('commits or rolls back with the transaction it was approved in', async () => {
    await viaGateway(async (client) => {
      for (const [end, id] of [['ROLLBACK', 1020], ['COMMIT', 1021]] as const) {
        await client.query('BEGIN');
        const insert = client.query('INSERT INTO notes VALUES ($1, $2)', [id, 'in a transaction']);
        await backstop.approve((await backstop.waitForHold(/INSERT INTO notes/i)).id);
        await insert;
        assert.equal((await client.query('SELECT 1 FROM notes WHERE id = $1', [id])).rowCount, 1);
        await client.query(end);
      }
      assert.deepEqual([await count('notes WHERE id = 1020'), await count('notes WHERE id = 1021')], [0, 1]);
    });
  });

  it('fails like any statement when the server refuses it after the approval', async () => {
    await viaGateway(async (client) => {
      const insert = refusalOf(client.query("INSERT INTO notes VALUES (3, 'taken')"));
      await backstop.approve((await backstop.waitForHold(/INSERT INTO notes/i)).id);
      const error = await insert;
      assert.deepEqual([error.code, error.constraint], ['23505', 'notes_pkey']);
      await isUsable(client);
    });
  });

  it('leaves the wait when its client cancels, and the approval then runs nothing', async () => {
    await viaGateway(async (client) => {
      const insert = refusalOf(client.query("INSERT INTO notes VALUES (1030, 'cancelled')"));
      const { id } = await backstop.waitForHold(/INSERT INTO notes/i);
      await sendCancelRequest(client, backstop);
      assert.equal((await insert).code, '57014');
      await backstop.approve(id).catch(() => undefined);
      await isUsable(client);
      assert.equal(await count('notes WHERE id = 1030'), 0);
    });
  });

  it('does not make other clients wait', async () => {
    await viaGateway(async (client) => {
      const insert = refusalOf(client.query("INSERT INTO notes VALUES (1040, 'slow')"));
      const { id } = await backstop.waitForHold(/INSERT INTO notes/i);
      await viaGateway(isUsable);
      await backstop.deny(id, 'no');
      await insert;
    });
  });
});

describe('a held COPY FROM STDIN', () => {
  const rows = (from: number, to: number): string => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\tcopied\n`).join('');

  it('loads every row once it is approved', async () => {
    await viaGateway(async (client) => {
      const load = pipeline(Readable.from([rows(2001, 2500), rows(2501, 3000)]), client.query(copyFrom('COPY notes FROM STDIN')));
      await backstop.approve((await backstop.waitForHold(/COPY notes/i)).id);
      await load;
      assert.equal(await count("notes WHERE body = 'copied'"), 1000);
      await isUsable(client);
    });
  });

  it('loads nothing once it is denied, and the session goes on', async () => {
    await viaGateway(async (client) => {
      const load = refusalOf(pipeline(Readable.from([rows(5001, 9000)]), client.query(copyFrom('COPY notes FROM STDIN'))));
      await backstop.deny((await backstop.waitForHold(/COPY notes/i)).id, 'too many');
      assert.equal((await load).code, '42501');
      await isUsable(client);
      assert.equal(await count('notes WHERE id >= 5001'), 0);
    });
  });
});

describe('a refused statement', () => {
  const destructive = ['DELETE FROM payments', 'DROP TABLE customers', 'DROP TABLE customers CASCADE', 'TRUNCATE payments',
    'DELETE FROM payments WHERE 1 = 1', 'ALTER TABLE payments DROP COLUMN amount', 'WITH d AS (DELETE FROM payments RETURNING *) SELECT count(*) FROM d'];

  for (const sql of destructive) {
    it(`tells why: ${sql}`, async () => {
      await viaGateway(async (client) => {
        const before = [await count('payments'), await count('customers'), await count('orders')];
        const error = await refusalOf(sql.startsWith('ALTER') ? deniedByOperator(client, sql) : client.query(sql));
        assert.equal(error.severity, 'ERROR');
        assert.equal(error.code, '42501');
        assert.ok((error.message ?? '').length > 20);
        assert.ok((error.hint ?? '').length > 10, 'the hint says what to do next');
        await isUsable(client);
        assert.deepEqual([await count('payments'), await count('customers'), await count('orders')], before);
      });
    });
  }

  it('carries the rule, the observed value and the threshold in its detail', async () => {
    await viaGateway(async (client) => {
      const error = await refusalOf(client.query('DELETE FROM payments'));
      assert.match(error.detail ?? '', /rule level\.CRITICAL \(deny\): observed CRITICAL; threshold CRITICAL: deny/);
      assert.match(error.detail ?? '', /undo: It can be undone to the exact rows/);
    });
  });

  it('leaves an aborted transaction that ROLLBACK ends', async () => {
    await viaGateway(async (client) => {
      await client.query('BEGIN');
      assert.equal((await refusalOf(client.query('DELETE FROM payments'))).code, '42501');
      assert.equal((await refusalOf(client.query('SELECT 1'))).code, '25P02');
      assert.equal((await client.query('ROLLBACK')).command, 'ROLLBACK');
      await isUsable(client);
    });
  });

  it('can be undone to a savepoint like any error', async () => {
    await viaGateway(async (client) => {
      await client.query('BEGIN');
      await client.query('SAVEPOINT before_it');
      assert.equal((await refusalOf(client.query('DROP TABLE customers'))).code, '42501');
      await client.query('ROLLBACK TO SAVEPOINT before_it');
      await isUsable(client);
      assert.equal((await client.query('COMMIT')).command, 'COMMIT');
    });
  });

  it('turns the COMMIT of its transaction into a rollback, as PostgreSQL does', async () => {
    await viaGateway(async (client) => {
      await client.query('BEGIN');
      await refusalOf(client.query('DROP TABLE customers'));
      assert.equal((await client.query('COMMIT')).command, 'ROLLBACK');
    });
  });

  it('stops every other statement of its message', async () => {
    await viaGateway(async (client) => {
      await client.query('CREATE TEMP TABLE mine (a int)').catch(() => undefined);
      assert.equal((await refusalOf(client.query('SELECT 1; DROP TABLE customers; SELECT 2'))).code, '42501');
      await isUsable(client);
    });
  });

  it('is refused in the extended protocol at once, and the name of the statement stays free', async () => {
    await viaGateway(async (client) => {
      assert.equal((await refusalOf(client.query({ name: 'bad', text: 'DELETE FROM payments' }))).code, '42501');
      assert.deepEqual((await client.query({ name: 'fine', text: 'SELECT $1::int AS n', values: [7] })).rows, [{ n: 7 }]);
    });
  });
});

/** A statement that policy only holds is refused by a person instead. */
async function deniedByOperator(client: pg.Client, sql: string): Promise<unknown> {
  const statement = client.query(sql);
  statement.catch(() => undefined);
  const answered = backstop.waitForHold(/ALTER TABLE/i).then(({ id }) => backstop.deny(id, 'no'));
  await Promise.race([answered, statement]);
  return await statement;
}

describe('an identity', () => {
  it('with a wrong token is refused before anything else', async () => {
    const url = new URL(backstop.agentUrl());
    url.password = 'wrong';
    const client = new pg.Client({ connectionString: url.href });
    assert.equal((await refusalOf(client.connect())).code, '28P01');
  });

  it('that is an agent can answer no approval, not even its own', async () => {
    await viaGateway(async (client) => {
      const insert = refusalOf(client.query("INSERT INTO notes VALUES (1050, 'mine')"));
      const { id } = await backstop.waitForHold(/INSERT INTO notes/i);
      await assert.rejects(backstop.answerAs(backstop.agent.token, id, 'approved'), /operator|approval/i);
      await backstop.deny(id, 'no');
      assert.equal((await insert).code, '42501');
      assert.equal(await count('notes WHERE id = 1050'), 0);
    });
  });

  it('that is revoked loses its live session and cannot come back', async () => {
    const agent = await backstop.addAgent('short-lived');
    const client = new pg.Client({ connectionString: agent.url });
    await client.connect();
    await isUsable(client);
    const ended = new Promise<void>((resolve) => { client.once('end', resolve); });
    client.on('error', () => undefined);
    await backstop.revokeAgent('short-lived');
    await ended;
    assert.equal((await refusalOf(new pg.Client({ connectionString: agent.url }).connect())).code, '28P01');
  });
});
