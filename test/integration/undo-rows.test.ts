/**
 * What an undo does with rows that were edited since, with tables that were altered since, and with keys, constraints and
 * triggers of every kind: each row that can be put back exactly is, and nothing else is touched without being told.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import type { UndoChoices } from '../../src/remote/postgres/restore/row-undo.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { act, plain, stateOf, undo } from '../fixtures/undo-scene.ts';

let server: PostgresServer;
let link: Link;
let owner: Link;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE ROLE owner LOGIN PASSWORD \'owner\' CREATEROLE; GRANT CREATE, TEMPORARY ON DATABASE postgres TO owner; GRANT ALL ON SCHEMA public TO owner; CREATE EXTENSION citext; CREATE EXTENSION btree_gist; CREATE EXTENSION hstore');
  link = await connect(server.url());
  owner = await connect(server.url().replace(/\/\/[^@]*@/, '//owner:owner@'));
});
after(async () => {
  for (const one of [link, owner]) one?.destroy();
  await server?.stop();
});

function connect(url: string): Promise<Link> { return connectLink(parseConnectionString(`${url}?sslmode=disable`), { parameters: new Map([['search_path', 'public']]) }); }

let tables = 0;
/** A table under a new name. */
async function make(columns: string, rows = '', by = link): Promise<string> {
  tables += 1;
  const name = `public.t${tables}`;
  await by.query(`CREATE TABLE ${name} (${columns})`);
  if (rows !== '') await by.query(`INSERT INTO ${name} OVERRIDING SYSTEM VALUE VALUES ${rows}`);
  return name;
}

const fails = (code: string, text: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof Failure, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, text);
  return true;
};

interface Case { readonly what: string; readonly action: string; readonly since?: string; readonly choices?: Partial<UndoChoices>; readonly then: string; readonly step: string; readonly conflict?: string }

/** `id, a, b` with one row `1, x, y`. `then`: what is in the table after the undo. */
const cases: readonly Case[] = [
  { what: 'a deleted row comes back', action: 'DELETE FROM %', then: '(1,x,y)', step: 'insert' },
  { what: 'a deleted row that came back by itself is done', action: 'DELETE FROM %', since: "INSERT INTO % VALUES (1, 'x', 'y')", then: '(1,x,y)', step: 'done' },
  { what: 'a deleted row whose key is in use again is left', action: 'DELETE FROM %', since: "INSERT INTO % VALUES (1, 'new', 'y')", then: '(1,new,y)', step: 'conflict', conflict: 'its key is in use again' },
  { what: 'a deleted row whose key is in use again is forced', action: 'DELETE FROM %', since: "INSERT INTO % VALUES (1, 'new', 'y')", choices: { forces: true }, then: '(1,x,y)', step: 'conflict', conflict: 'its key is in use again' },
  { what: 'an updated row is put back', action: "UPDATE % SET a = 'z'", then: '(1,x,y)', step: 'put-back' },
  { what: 'an updated row that was set back since is done', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET a = 'x'", then: '(1,x,y)', step: 'done' },
  { what: 'a row with another column edited is left', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET b = 'mine'", then: '(1,z,mine)', step: 'merge', conflict: 'other columns were edited since' },
  { what: 'a row with another column edited is merged', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET b = 'mine'", choices: { merges: true }, then: '(1,x,mine)', step: 'merge' },
  { what: 'a row with another column edited is forced whole', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET b = 'mine'", choices: { forces: true }, then: '(1,x,y)', step: 'merge', conflict: 'other columns were edited since' },
  { what: 'a row with another column edited is merged when forced', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET b = 'mine'", choices: { forces: true, merges: true }, then: '(1,x,mine)', step: 'merge' },
  { what: 'a row with the same column edited is left', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET a = 'mine'", choices: { merges: true }, then: '(1,mine,y)', step: 'conflict', conflict: 'what the action had changed was edited since' },
  { what: 'a row with the same column edited is forced', action: "UPDATE % SET a = 'z'", since: "UPDATE % SET a = 'mine'", choices: { forces: true }, then: '(1,x,y)', step: 'conflict', conflict: 'what the action had changed was edited since' },
  { what: 'an updated row that was deleted since stays deleted', action: "UPDATE % SET a = 'z'", since: 'DELETE FROM %', then: '', step: 'conflict', conflict: 'it was deleted since' },
  { what: 'an updated row that was deleted since is forced back', action: "UPDATE % SET a = 'z'", since: 'DELETE FROM %', choices: { forces: true }, then: '(1,x,y)', step: 'conflict', conflict: 'it was deleted since' },
  { what: 'an inserted row goes', action: "INSERT INTO % VALUES (2, 'n', NULL)", then: '(1,x,y)', step: 'delete' },
  { what: 'an inserted row that was deleted since is done', action: "INSERT INTO % VALUES (2, 'n', NULL)", since: 'DELETE FROM % WHERE id = 2', then: '(1,x,y)', step: 'done' },
  { what: 'an inserted row that was edited since is left', action: "INSERT INTO % VALUES (2, 'n', NULL)", since: "UPDATE % SET b = 'mine' WHERE id = 2", choices: { merges: true }, then: '(1,x,y) (2,n,mine)', step: 'conflict', conflict: 'it was edited since' },
  { what: 'an inserted row that was edited since is forced away', action: "INSERT INTO % VALUES (2, 'n', NULL)", since: "UPDATE % SET b = 'mine' WHERE id = 2", choices: { forces: true }, then: '(1,x,y)', step: 'conflict', conflict: 'it was edited since' },
  { what: 'NULL and the empty text are not the same', action: "UPDATE % SET a = NULL", since: "UPDATE % SET a = ''", then: '(1,"",y)', step: 'conflict', conflict: 'what the action had changed was edited since' },
  { what: 'a changed key is put back', action: 'UPDATE % SET id = 2', then: '(1,x,y)', step: 'insert' },
];

for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
  describe(`a row, ${how}`, () => {
    for (const { what, action, since, choices, then, step, conflict } of cases) {
      it(what, async () => {
        const by = session();
        const name = await make('id int PRIMARY KEY, a text, b varchar(10)', "(1, 'x', 'y')", by);
        const manifest = await act(by, [name], [action.replaceAll('%', name)]);
        if (since !== undefined) await by.query(since.replaceAll('%', name));
        const was = await stateOf(by, [name]);
        const { changes, conflicts, touched } = await undo(by, manifest, { ...plain, ...choices });
        assert.ok((changes[0]?.[step as 'done'] ?? 0) >= 1, JSON.stringify(changes));
        assert.deepEqual(conflicts.map(({ why }) => why), conflict === undefined ? [] : [conflict]);
        assert.equal((await stateOf(by, [name])).map((row) => row.slice(name.length + 1)).join(' '), then);
        // The undo is an action like any other.
        await undo(by, touched);
        assert.deepEqual(await stateOf(by, [name]), was);
      });
    }
  });
}

describe('keys', () => {
  const keyed: readonly (readonly [what: string, columns: string, rows: string])[] = [
    ['of a type of an extension', 'k citext PRIMARY KEY, v int', "('Abc', 1), ('B', 2)"],
    ['of several columns and odd names', '"A k" text COLLATE "C", "b""c" numeric(10,3), v int, PRIMARY KEY ("b""c", "A k")', "('x', 1.5, 1), ('y', 1.500, 2)"],
    ['of a composite value with a null in it', 'k pair PRIMARY KEY, v int', "(ROW(1, NULL), 1), (ROW(NULL, NULL), 2)"],
    ['of arrays, ranges, enumerations and domains', 'a int[], r int4range, e mood, d positive, v int, PRIMARY KEY (a, r, e, d)', "('{1,2}', '[1,3)', 'sad', 4, 1), ('{NULL}', 'empty', 'ok', 5, 2)"],
    ['of blank-padded text, bytes, times and floats', 'c char(5), y bytea, t timestamptz, f float8, i interval, v int, PRIMARY KEY (c, y, t, f, i)', "('a', '\\x00ff', '2020-01-01 00:00:00.123456+02', 0.1, '1 mon -2 days', 1), ('b', '', 'infinity', 'NaN', '0', 2)"],
    ['that the server always gives', 'k bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int', '(7, 1), (9, 2)'],
    ['beside generated columns', 'k int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED', '(1, 1), (2, 2)'],
    ['that may be checked late', 'k int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int UNIQUE DEFERRABLE', '(1, 1), (2, 2)'],
  ];
  before(async () => {
    await link.query("CREATE TYPE pair AS (a int, b text)");
    await link.query("CREATE TYPE mood AS ENUM ('sad', 'ok')");
    await link.query('CREATE DOMAIN positive AS int CHECK (VALUE > 0)');
  });
  for (const [what, columns, rows] of keyed) {
    for (const action of ['DELETE FROM %', 'UPDATE % SET v = v + 10', 'UPDATE % SET v = 3 - v']) {
      it(`${what}: ${action}`, async () => {
        const name = await make(columns);
        const list = columns.includes('GENERATED ALWAYS AS (v') ? ' (k, v)' : '';
        await link.query(`INSERT INTO ${name}${list} OVERRIDING SYSTEM VALUE VALUES ${rows}`);
        const was = await stateOf(link, [name]);
        const manifest = await act(link, [name], [action.replaceAll('%', name)]);
        assert.notDeepEqual(await stateOf(link, [name]), was);
        const { conflicts } = await undo(link, manifest);
        assert.deepEqual(conflicts, []);
        assert.deepEqual(await stateOf(link, [name]), was);
      });
    }
  }
  it('of an extension are compared as the extension does: another case is the same key', async () => {
    const name = await make('k citext PRIMARY KEY, v int', "('Abc', 1)");
    const manifest = await act(link, [name], [`DELETE FROM ${name}`]);
    await link.query(`INSERT INTO ${name} VALUES ('aBC', 5)`);
    const { conflicts } = await undo(link, manifest);
    assert.deepEqual(conflicts.map(({ why }) => why), ['its key is in use again']);
  });
  it('that are generated cannot be captured', async () => {
    const name = await make('v int, k int GENERATED ALWAYS AS (v + 1) STORED PRIMARY KEY');
    await assert.rejects(act(link, [name], []), /a column of its primary key is generated/);
  });
});

describe('merging', () => {
  it('keeps identity columns, generated columns and every other edit', async () => {
    const name = await make('id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, a int, b int, j json, twice int GENERATED ALWAYS AS (a * 2) STORED');
    await link.query(`INSERT INTO ${name} (id, a, b, j) VALUES (1, 1, 1, '{"a":1, "a":2}')`);
    const manifest = await act(link, [name], [`UPDATE ${name} SET a = 5, j = '{}'`]);
    await link.query(`UPDATE ${name} SET b = 7`);
    await undo(link, manifest, { merges: true, forces: false });
    assert.deepEqual(await stateOf(link, [name]), [`${name} (1,1,1,7,"{""a"":1, ""a"":2}",2)`]);
  });
});

describe('a table that was altered since', () => {
  const altered: readonly (readonly [what: string, alter: string, then: string | RegExp])[] = [
    ['a column added keeps its value in rows that are there and gets its default in others', "ADD COLUMN more text DEFAULT 'd'", '(1,a,10,edited) (2,b,20,d)'],
    ['a wider type takes the value as it was', 'ALTER COLUMN n TYPE bigint', '(1,a,10) (2,b,20)'],
    ['longer text takes the value as it was', 'ALTER COLUMN t TYPE text', '(1,a,10) (2,b,20)'],
    ['another type is told', 'ALTER COLUMN n TYPE text', /has another type in its column n now: text instead of integer/],
    ['shorter text is told', 'ALTER COLUMN t TYPE varchar(5)', /column t now: character varying\(5\)/],
    ['a dropped column is told', 'DROP COLUMN n', /has no column n any more/],
    ['a renamed column is told', 'RENAME COLUMN n TO m', /has no column n any more/],
    ['another key is told', 'DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, t)', /has another primary key now/],
    ['a table that is gone is told', 'RENAME TO gone', /is not there any more/],
    ['row security that hides nothing from a superuser is no matter', 'ENABLE ROW LEVEL SECURITY', '(1,a,10) (2,b,20)'],
  ];
  for (const [what, alter, then] of altered) {
    it(what, async () => {
      await link.query('DROP TABLE IF EXISTS public.t, public.gone');
      await link.query('CREATE TABLE public.t (id int PRIMARY KEY, t varchar(10), n int)');
      await link.query("INSERT INTO public.t VALUES (1, 'a', 10), (2, 'b', 20)");
      const manifest = await act(link, ['public.t'], ['UPDATE public.t SET n = 11 WHERE id = 1', 'DELETE FROM public.t WHERE id = 2']);
      await link.query(`ALTER TABLE public.t ${alter}`);
      if (typeof then !== 'string') {
        await assert.rejects(undo(link, manifest), fails('conflict', then));
        return;
      }
      if (then.includes('edited')) await link.query("UPDATE public.t SET more = 'edited'");
      await undo(link, manifest);
      assert.equal((await stateOf(link, ['public.t'])).map((row) => row.slice('public.t '.length)).join(' '), then);
    });
  }
});

describe('foreign keys', () => {
  for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
    it(`keep a row to which somebody refers since, and say who does, ${how}`, async () => {
      const by = session();
      const [parent, child] = [await make('id int PRIMARY KEY', '', by), await make('id int PRIMARY KEY', '', by)];
      await by.query(`ALTER TABLE ${child} ADD COLUMN p int REFERENCES ${parent} ON DELETE CASCADE`);
      const manifest = await act(by, [parent], [`INSERT INTO ${parent} VALUES (1), (2)`]);
      await by.query(`INSERT INTO ${child} VALUES (5, 2)`);
      const { conflicts } = await undo(by, manifest, { merges: false, forces: true });
      assert.deepEqual(conflicts.map(({ key, why, step }) => [key, why, step]), [['(2)', `rows of ${child} refer to it`, 'blocked']]);
      assert.deepEqual(await stateOf(by, [parent, child]), [`${parent} (2)`, `${child} (5,2)`].sort());
    });
    it(`do not let a row come back that would refer to nothing, nor one that refers to such a row, ${how}`, async () => {
      const by = session();
      const top = await make('id int PRIMARY KEY', '(1), (2)', by);
      const middle = await make(`id int PRIMARY KEY, t int REFERENCES ${top}`, '(10, 1), (20, 2)', by);
      const low = await make(`id int PRIMARY KEY, m int REFERENCES ${middle}, l int`, '(100, 10, NULL), (200, 20, NULL)', by);
      await by.query(`ALTER TABLE ${low} ADD FOREIGN KEY (l) REFERENCES ${low}`);
      await by.query(`UPDATE ${low} SET l = id`);
      const manifest = await act(by, [low, middle], [`DELETE FROM ${low}`, `DELETE FROM ${middle}`]);
      await by.query(`DELETE FROM ${top} WHERE id = 1`);
      const { conflicts } = await undo(by, manifest);
      assert.deepEqual(conflicts.map(({ key, step }) => [key, step]), [['(100)', 'blocked'], ['(10)', 'blocked']]);
      assert.deepEqual(await stateOf(by, [middle, low]), [`${middle} (20,2)`, `${low} (200,20,200)`].sort());
    });
  }
  for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
    it(`that go in a circle are put back ${how}, and are there afterwards`, async () => {
      const by = session();
      const [a, b] = [await make('id int PRIMARY KEY', '(1)', by), await make('id int PRIMARY KEY', '(1)', by)];
      await by.query(`ALTER TABLE ${a} ADD COLUMN b int DEFAULT 1 CONSTRAINT a_to_b REFERENCES ${b}`);
      await by.query(`ALTER TABLE ${b} ADD COLUMN a int DEFAULT 1 CONSTRAINT b_to_a REFERENCES ${a} ON DELETE CASCADE DEFERRABLE`);
      await by.query(`COMMENT ON CONSTRAINT b_to_a ON ${b} IS 'said'`);
      const keys = `SELECT conname::text, pg_get_constraintdef(oid), convalidated::text, obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid IN ('${a}'::regclass, '${b}'::regclass) ORDER BY 1`;
      const were = (await by.query(keys)).rows;
      const manifest = await act(by, [a, b], [`WITH x AS (DELETE FROM ${a}) DELETE FROM ${b}`]);
      assert.deepEqual(await stateOf(by, [a, b]), []);
      await undo(by, manifest);
      assert.equal((await stateOf(by, [a, b])).length, 2);
      assert.deepEqual((await by.query(keys)).rows, were);
    });
  }
  it('with an action on change are not set off by rows that are put back', async () => {
    const parent = await make('id int PRIMARY KEY, code text UNIQUE, note text', "(1, 'x', 'n')");
    const child = await make(`id int PRIMARY KEY, code text REFERENCES ${parent} (code) ON UPDATE CASCADE ON DELETE CASCADE`, "(5, 'x')");
    const was = await stateOf(link, [parent, child]);
    const manifest = await act(link, [parent, child], [`UPDATE ${parent} SET code = 'y'`]);
    const { changes } = await undo(link, manifest);
    assert.deepEqual(changes.map((change) => change['put-back']), [1, 1]);
    assert.deepEqual(await stateOf(link, [parent, child]), was);
  });
});

describe('unique keys', () => {
  for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
    it(`that another row has taken since keep the row out, and what refers to it, ${how}`, async () => {
      const by = session();
      const parent = await make('id int PRIMARY KEY, mail text UNIQUE, a int, b int, UNIQUE (a, b)', "(1, 'one', 1, 1), (2, 'two', 2, 2), (3, NULL, NULL, 3)", by);
      const child = await make(`id int PRIMARY KEY, p int REFERENCES ${parent}`, '(10, 1), (20, 2), (30, 3)', by);
      const manifest = await act(by, [parent, child], [`DELETE FROM ${child}`, `DELETE FROM ${parent}`]);
      await by.query(`INSERT INTO ${parent} VALUES (7, 'one', NULL, 1), (8, NULL, NULL, 3)`);
      for (const forces of [false, true]) {
        const { conflicts } = await undo(by, manifest, { merges: false, forces }, false);
        assert.deepEqual(conflicts.map(({ key, step, why }) => [key, step, why.replace(parent, 'P')]), [['(1)', 'blocked', 'another row has its mail now'], ['(10)', 'blocked', 'what it refers to in P is not there']]);
      }
      await undo(by, manifest);
      assert.deepEqual((await stateOf(by, [parent])).map((row) => row.slice(parent.length + 1)), ['(2,two,2,2)', '(3,,,3)', '(7,one,,1)', '(8,,,3)']);
      assert.deepEqual((await stateOf(by, [child])).map((row) => row.slice(child.length + 1)), ['(20,2)', '(30,3)']);
    });
  }
  for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
    it(`whose values rows had exchanged, or that moved to another primary key, are put back ${how}`, async () => {
      const by = session();
      const name = await make('id int PRIMARY KEY, a int UNIQUE, d int UNIQUE DEFERRABLE INITIALLY DEFERRED', '(1, 1, 1), (2, 2, 2), (3, 3, 3)', by);
      const was = await stateOf(by, [name]);
      await undo(by, await act(by, [name], [`UPDATE ${name} SET a = a + 10`, `UPDATE ${name} SET a = 14 - a`]));
      assert.deepEqual(await stateOf(by, [name]), was);
      await undo(by, await act(by, [name], [`UPDATE ${name} SET id = id + 100`]));
      assert.deepEqual(await stateOf(by, [name]), was);
    });
  }
});

describe('triggers and rules of users', () => {
  for (const [how, session] of [['as a replica', () => link], ['under constraints', () => owner]] as const) {
    it(`do not act on what is put back, and are as they were afterwards, ${how}`, async () => {
      const by = session();
      const [name, audit] = [await make('id int PRIMARY KEY, a int', '(1, 1)', by), await make('id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text', '', by)];
      await by.query(`CREATE OR REPLACE FUNCTION public.meddle_${tables}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 99; INSERT INTO ${audit} (what) VALUES (TG_OP); RETURN NEW; END $$`);
      const manifest = await act(by, [name], [`UPDATE ${name} SET a = 2`, `INSERT INTO ${name} VALUES (2, 2)`]);
      for (const [index, state] of ['ENABLE', 'ENABLE ALWAYS', 'ENABLE REPLICA', 'DISABLE'].entries()) {
        await by.query(`CREATE TRIGGER m${index} BEFORE INSERT OR UPDATE ON ${name} FOR EACH ROW EXECUTE FUNCTION public.meddle_${tables}()`);
        await by.query(`ALTER TABLE ${name} ${state} TRIGGER m${index}`);
      }
      await by.query(`CREATE RULE r AS ON UPDATE TO ${name} DO INSTEAD NOTHING`);
      await by.query(`ALTER TABLE ${name} ENABLE ALWAYS RULE r`);
      const states = `SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = '${name}'::regclass UNION SELECT rulename, ev_enabled::text FROM pg_rewrite WHERE ev_class = '${name}'::regclass ORDER BY 1`;
      const were = (await by.query(states)).rows;
      await undo(by, manifest);
      assert.deepEqual(await stateOf(by, [name, audit]), [`${name} (1,1)`]);
      assert.deepEqual((await by.query(states)).rows, were);
      assert.deepEqual((await by.query('SHOW session_replication_role')).rows, [['origin']]);
    });
  }
});

describe('constraints that came since', () => {
  it('let the undo fail with nothing changed', async () => {
    const name = await make('id int PRIMARY KEY, a int', '(1, 1)');
    const manifest = await act(link, [name], [`UPDATE ${name} SET a = 50`]);
    await link.query(`ALTER TABLE ${name} ADD CHECK (a > 10)`);
    await assert.rejects(undo(link, manifest), /violates check constraint/);
    assert.deepEqual(await stateOf(link, [name]), [`${name} (1,50)`]);
  });
  it('that may be checked late are checked, as a replica would not', async () => {
    const name = await make('id int PRIMARY KEY, a int', '(1, 1)');
    const manifest = await act(link, [name], [`UPDATE ${name} SET a = 50`]);
    await link.query(`ALTER TABLE ${name} ADD EXCLUDE USING gist (a WITH =) DEFERRABLE INITIALLY DEFERRED`);
    await link.query(`INSERT INTO ${name} VALUES (2, 1)`);
    await assert.rejects(undo(link, manifest), /violates exclusion constraint/);
    assert.deepEqual(await stateOf(link, [name]), [`${name} (1,50)`, `${name} (2,1)`]);
  });
});
