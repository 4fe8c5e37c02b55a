/** What is printed to harden a database follows from the facts: nothing without need, nothing taken away unsaid. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HardenFacts, LoginFact } from './harden-facts.ts';
import { hardenPlan, quoteName, type HardenPlan, type HardenWish } from './harden-plan.ts';

const nothingGiven: HardenFacts = {
  major: 18, database: 'shop', databaseOwner: 'app', me: 'postgres', isSuperuser: true, hasTls: false, clientAddress: '10.0.0.5', role: null,
  schemas: [{ name: 'public', publicMayCreate: false, owners: ['app'] }], databasePublic: [], logins: [], publicPrivileges: [], rolePrivileges: [], publicFunctions: [],
  untrustedLanguages: [], foreignServers: [], loginTriggers: [], otherDatabases: [], hba: [],
};
const login = (name: string, more: Partial<LoginFact> = {}): LoginFact => ({
  name, superuser: false, createrole: false, bypassrls: false, replication: false, connects: true, connectsAsPublic: true, writes: false, powers: [], ...more,
});
const clean = { superuser: false, createdb: false, createrole: false, replication: false, bypassrls: false, login: true, memberOf: [], owns: [] };
const plan = (facts: Partial<HardenFacts>, wish: Partial<HardenWish> = {}): HardenPlan => hardenPlan({ ...nothingGiven, ...facts }, { role: 'agents', may: 'read', gateway: '10.0.0.5/32', ...wish });
const sql = (...given: Parameters<typeof plan>): readonly string[] => plan(...given).statements.map((statement) => statement.sql);

describe('the SQL', () => {
  const rows: readonly (readonly [claim: string, statements: readonly string[], expected: RegExp, isThere: boolean])[] = [
    ['makes a role that can do nothing by itself', sql({}), /^CREATE ROLE "agents" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT$/, true],
    ['gives it no password, which a record would keep', sql({}), /PASSWORD/, false],
    ['leaves a role that is right as it is', sql({ role: clean }), /^(CREATE|ALTER) ROLE/, false],
    ['takes attributes away that it has', sql({ role: { ...clean, bypassrls: true } }), /^ALTER ROLE "agents" NOBYPASSRLS$/, true],
    ['takes its memberships away', sql({ role: { ...clean, memberOf: ['app'] } }), /^REVOKE "app" FROM "agents"$/, true],
    ['grants by name what a login could do as everybody', sql({ databasePublic: ['CONNECT'], logins: [login('old')] }), /^GRANT CONNECT ON DATABASE "shop" TO "old"$/, true],
    ['and not to superusers, who need none', sql({ databasePublic: ['CONNECT'], logins: [login('root', { superuser: true })] }), /TO "root"/, false],
    ['closes the database to everybody', sql({ databasePublic: ['CONNECT', 'TEMPORARY'] }), /^REVOKE CONNECT, TEMPORARY ON DATABASE "shop" FROM PUBLIC$/, true],
    ['lets nobody put objects where names are looked up', sql({ schemas: [{ name: 'public', publicMayCreate: true, owners: [] }] }), /^REVOKE CREATE ON SCHEMA "public" FROM PUBLIC$/, true],
    ['takes from everybody what agents may not', sql({ publicPrivileges: [{ object: 'public.t', kind: 'TABLE', privileges: ['SELECT', 'DELETE'] }] }), /^REVOKE DELETE ON TABLE public\.t FROM PUBLIC$/, true],
    ['but not what they may', sql({ publicPrivileges: [{ object: 'public.t', kind: 'TABLE', privileges: ['SELECT'] }] }), /^REVOKE .* public\.t/, false],
    ['grants reading alone by default', sql({}), /INSERT|UPDATE|DELETE/, false],
    ['grants writing when it is wished', sql({}, { may: 'write' }), /^GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "public" TO "agents"$/, true],
    ['grants the same for tables that owners make later', sql({}), /^ALTER DEFAULT PRIVILEGES FOR ROLE "app" IN SCHEMA "public" GRANT SELECT ON TABLES TO "agents"$/, true],
    ['quotes names that would end a statement', sql({}, { role: 'a"; DROP ROLE b' }), /^CREATE ROLE "a""; DROP ROLE b" /, true],
  ];
  for (const [claim, statements, expected, isThere] of rows) test(claim, () => { assert.equal(statements.some((one) => expected.test(one)), isThere, statements.join('\n')); });

  test('a quote in a name is doubled', () => { assert.equal(quoteName('a"b'), '"a""b"'); });
});

test('pg_hba.conf asks for TLS where the server has it and the gateway is elsewhere', () => {
  assert.deepEqual(plan({ hasTls: true }).hba, ['hostssl "shop" "agents" 10.0.0.5/32 scram-sha-256', 'host all "agents" all reject', 'local all "agents" reject']);
  assert.match(plan({ hasTls: true }, { gateway: '127.0.0.1/32' }).hba[0] ?? '', /^host /);
});

describe('what stays open is said of', () => {
  const rule = { line: 3, type: 'local', databases: ['all'], users: ['all'], address: null, error: null };
  const rows: readonly (readonly [what: string, facts: Partial<HardenFacts>, expected: RegExp])[] = [
    ['superusers', { logins: [login('root', { superuser: true })] }, /^root: superusers/],
    ['other logins that may write', { logins: [login('app', { writes: true })] }, /^app: log in past the gateway and may write/],
    ['other logins that may read', { logins: [login('bi')] }, /^bi: log in past the gateway and may read/],
    ['roles that reach files', { logins: [login('etl', { powers: ['pg_write_server_files'] })] }, /^etl is a member of pg_write_server_files/],
    ['what the role itself owns', { role: { ...clean, owns: ['public.t'] } }, /^agents owns public\.t/],
    ['lines that trust', { hba: [{ ...rule, method: 'trust' }] }, /^line 3 .* trusts/],
    ['lines that ask for a user of the machine', { hba: [{ ...rule, method: 'peer' }] }, /^line 3 .* lets users of the machine in/],
    ['a file that cannot be read', { hba: null }, /^pg_hba\.conf cannot be read/],
    ['untrusted languages', { untrustedLanguages: ['plpython3u'] }, /^plpython3u/],
    ['login triggers', { loginTriggers: ['ev'] }, /^ev: login triggers/],
    ['other databases', { otherDatabases: ['b'] }, /^b: other databases/],
    ['a role that sees too little', { isSuperuser: false }, /superusers/],
  ];
  for (const [what, facts, expected] of rows) test(what, () => { assert.ok(plan(facts).gaps.some((gap) => expected.test(gap.what)), plan(facts).gaps.map((gap) => gap.what).join('\n')); });
});
