/**
 * HardenPlan: the SQL and the pg_hba.conf lines that leave the gateway as the only way in for agents, and what neither can
 * close. Pure. Nothing in it takes away what another role needs to go on working without being said: whoever could connect
 * because everybody could is granted just that by name.
 */
import type { HardenFacts, LoginFact } from './harden-facts.ts';

export interface HardenWish {
  /** As whom the gateway will connect. */
  readonly role: string;
  /** What that role may do with the data at all; the policy decides within it. */
  readonly may: 'read' | 'write';
  /** From where the gateway connects, as pg_hba.conf writes it: `10.0.0.5/32`. */
  readonly gateway: string;
}

export interface HardenStatement { readonly sql: string; readonly why: string }
/** What is still open afterwards, and what a person could do about it. */
export interface HardenGap { readonly what: string; readonly remedy: string }

export interface HardenPlan {
  readonly statements: readonly HardenStatement[];
  /** To stand above all other lines of pg_hba.conf. */
  readonly hba: readonly string[];
  readonly gaps: readonly HardenGap[];
}

export function hardenPlan(facts: HardenFacts, wish: HardenWish): HardenPlan {
  const statements = [
    ...roleStatements(facts, wish), ...databaseStatements(facts, wish), ...schemaStatements(facts), ...publicStatements(facts, wish), ...grants(facts, wish),
  ];
  return { statements, hba: hbaLines(facts, wish), gaps: [...roleGaps(facts, wish), ...loginGaps(facts), ...objectGaps(facts), ...hbaGaps(facts)] };
}

export function quoteName(name: string): string { return `"${name.replaceAll('"', '""')}"`; }

const attributes = 'LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT';

function roleStatements({ role }: HardenFacts, wish: HardenWish): readonly HardenStatement[] {
  const name = quoteName(wish.role);
  if (role === null) return [{ sql: `CREATE ROLE ${name} ${attributes}`, why: 'The gateway connects as a role that can do nothing by itself. It gets no password here: set one with \\password.' }];
  return [
    // Only a superuser may touch some of these attributes, so they are named only where they have to change.
    ...attributesToChange(role).map((attribute) => ({ sql: `ALTER ROLE ${name} ${attribute}`, why: 'The role has more rights than it needs.' })),
    ...role.memberOf.map((group) => ({ sql: `REVOKE ${quoteName(group)} FROM ${name}`, why: `It must not act with the rights of ${group}.` })),
  ];
}

function attributesToChange(role: NonNullable<HardenFacts['role']>): readonly string[] {
  return [
    ...(role.superuser ? ['NOSUPERUSER'] : []), ...(role.createdb ? ['NOCREATEDB'] : []), ...(role.createrole ? ['NOCREATEROLE'] : []),
    ...(role.replication ? ['NOREPLICATION'] : []), ...(role.bypassrls ? ['NOBYPASSRLS'] : []), ...(role.login ? [] : ['LOGIN']),
  ];
}

function databaseStatements({ database, databasePublic, logins }: HardenFacts, wish: HardenWish): readonly HardenStatement[] {
  const name = quoteName(database);
  const guests = logins.filter(({ connectsAsPublic, superuser }) => connectsAsPublic && !superuser).map((login) => login.name);
  const grant = { sql: `GRANT CONNECT ON DATABASE ${name} TO ${quoteName(wish.role)}`, why: 'The gateway may connect to this database.' };
  if (databasePublic.length === 0) return [grant];
  const kept = databasePublic.join(', ');
  return [
    ...guests.map((guest) => ({ sql: `GRANT ${kept} ON DATABASE ${name} TO ${quoteName(guest)}`, why: `${guest} could do this because everybody could; it goes on as before.` })),
    { sql: `REVOKE ${kept} ON DATABASE ${name} FROM PUBLIC`, why: 'No login that is made later gets in by itself.' }, grant,
  ];
}

function schemaStatements({ schemas }: HardenFacts): readonly HardenStatement[] {
  return schemas.filter(({ publicMayCreate }) => publicMayCreate)
    .map(({ name }) => ({ sql: `REVOKE CREATE ON SCHEMA ${quoteName(name)} FROM PUBLIC`, why: 'Whoever may create objects where others look names up can give those names another meaning.' }));
}

const allowed: Readonly<Record<HardenWish['may'], ReadonlySet<string>>> = {
  read: new Set(['SELECT']), write: new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE']),
};

/** What the role has beside its grants: through everybody, or from before. */
function publicStatements(facts: HardenFacts, wish: HardenWish): readonly HardenStatement[] {
  const tooMuch = (given: HardenFacts['publicPrivileges'], from: string, why: string): readonly HardenStatement[] => given.flatMap(({ object, kind, privileges }) => {
    const extra = privileges.filter((privilege) => !allowed[wish.may].has(privilege));
    return extra.length === 0 ? [] : [{ sql: `REVOKE ${extra.join(', ')} ON ${kind} ${object} FROM ${from}`, why }];
  });
  return [
    ...tooMuch(facts.publicPrivileges, 'PUBLIC', 'Everybody had it, the agents\' role among them. Grant it by name to whoever needs it.'),
    ...tooMuch(facts.rolePrivileges, quoteName(wish.role), 'The role had it from before.'),
    ...facts.publicFunctions.map(({ signature, why }) => ({ sql: `REVOKE EXECUTE ON ROUTINE ${signature} FROM PUBLIC`, why: `Everybody may call it: ${why}. Grant it by name to whoever needs it.` })),
  ];
}

function grants({ schemas }: HardenFacts, wish: HardenWish): readonly HardenStatement[] {
  const role = quoteName(wish.role);
  const onTables = wish.may === 'read' ? 'SELECT' : 'SELECT, INSERT, UPDATE, DELETE';
  const onSequences = wish.may === 'read' ? 'SELECT' : 'USAGE, SELECT';
  return schemas.flatMap(({ name, owners }) => {
    const schema = quoteName(name);
    return [
      { sql: `GRANT USAGE ON SCHEMA ${schema} TO ${role}`, why: `It may use what is in ${name}.` },
      { sql: `GRANT ${onTables} ON ALL TABLES IN SCHEMA ${schema} TO ${role}`, why: `What agents may do at all; the policy decides within it.` },
      { sql: `GRANT ${onSequences} ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`, why: 'The sequences of these tables.' },
      ...owners.map((owner) => ({
        sql: `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteName(owner)} IN SCHEMA ${schema} GRANT ${onTables} ON TABLES TO ${role}`, why: `The same for tables that ${owner} makes later.`,
      })),
    ];
  });
}

function hbaLines({ database, hasTls }: HardenFacts, { role, gateway }: HardenWish): readonly string[] {
  const type = hasTls && !/^(127\.|::1)/.test(gateway) ? 'hostssl' : 'host';
  const user = quoteName(role);
  return [`${type} ${quoteName(database)} ${user} ${gateway} scram-sha-256`, `host all ${user} all reject`, `local all ${user} reject`];
}

function roleGaps({ role }: HardenFacts, wish: HardenWish): readonly HardenGap[] {
  if (role === null || role.owns.length === 0) return [];
  return [{
    what: `${wish.role} owns ${listed(role.owns)}: an owner can do everything with its objects, whatever is revoked.`,
    remedy: `REASSIGN OWNED BY ${quoteName(wish.role)} TO another role, or take another role for the gateway.`,
  }];
}

function loginGaps({ logins, databaseOwner }: HardenFacts): readonly HardenGap[] {
  const named = (fits: (login: LoginFact) => boolean): readonly string[] => logins.filter(fits).map(({ name }) => name);
  const gap = (names: readonly string[], what: string, remedy: string): readonly HardenGap[] => (names.length === 0 ? [] : [{ what: `${listed(names)}: ${what}`, remedy }]);
  return [
    ...gap(named(({ superuser }) => superuser), 'superusers, for whom no right is checked.', 'Keep their credentials away from agents and from the gateway; let them log in from an administrator\'s host only.'),
    ...gap(named(({ superuser, createrole }) => createrole && !superuser), 'may make roles and give them rights.', 'ALTER ROLE … NOCREATEROLE where it is not needed.'),
    ...gap(named(({ superuser, bypassrls, replication }) => (bypassrls || replication) && !superuser), 'pass row security, or may copy the whole cluster.', 'ALTER ROLE … NOBYPASSRLS NOREPLICATION where it is not needed.'),
    ...logins.filter(({ superuser, powers }) => powers.length > 0 && !superuser).map(({ name, powers }) => ({ what: `${name} is a member of ${listed(powers)}.`, remedy: `REVOKE ${powers.map(quoteName).join(', ')} FROM ${quoteName(name)} where it is not needed.` })),
    ...gap(named(({ superuser, connects, writes }) => connects && writes && !superuser), 'log in past the gateway and may write here.', 'If an agent holds such a credential, change its password and give the agent a Backstop token instead.'),
    ...gap(named(({ superuser, connects, writes }) => connects && !writes && !superuser), 'log in past the gateway and may read what they were granted.', 'Revoke CONNECT from those that only agents use.'),
    ...(logins.some(({ name }) => name === databaseOwner) ? [] : [{ what: `${databaseOwner} owns the database and can grant everything back.`, remedy: 'Whoever may act as that role must not be an agent.' }]),
  ];
}

function objectGaps({ untrustedLanguages, foreignServers, loginTriggers, otherDatabases, isSuperuser, schemas }: HardenFacts): readonly HardenGap[] {
  const gap = (names: readonly string[], what: string, remedy: string): readonly HardenGap[] => (names.length === 0 ? [] : [{ what: `${listed(names)}: ${what}`, remedy }]);
  return [
    ...gap(untrustedLanguages, 'languages whose functions can do anything on the server.', 'DROP LANGUAGE where nothing uses it.'),
    ...gap(foreignServers, 'foreign servers, which lead out of the database.', 'REVOKE USAGE ON FOREIGN SERVER … FROM PUBLIC, and drop user mappings for PUBLIC.'),
    ...gap(loginTriggers, 'login triggers run before anything can be judged.', 'Read them, and DISABLE what agents must not run.'),
    ...gap(otherDatabases, 'other databases, which everybody may connect to.', 'Run this command for each of them.'),
    ...(isSuperuser ? [] : [{ what: 'Some facts are for superusers, and some revokes take effect only for grants of one\'s own.', remedy: 'Run it again as a superuser.' }]),
    ...(schemas.length === 0 ? [{ what: 'There is no schema of users\' own, so nothing was granted.', remedy: 'Run it again once there is one.' }] : []),
  ];
}

/** Lines that let anybody of the machine or the network in without a proof. */
function hbaGaps({ hba }: HardenFacts): readonly HardenGap[] {
  if (hba === null) return [{ what: 'pg_hba.conf cannot be read by this role, so nobody knows who else it lets in.', remedy: 'Run it as a superuser, or read the file.' }];
  return hba.flatMap(({ line, type, users, databases, method, error }) => {
    const where = `line ${line} of pg_hba.conf (${type} ${databases.join(',')} ${users.join(',')})`;
    if (error !== null) return [{ what: `${where} is wrong: ${error}.`, remedy: 'Correct it, or the server keeps the rules from before.' }];
    if (method === 'trust') return [{ what: `${where} trusts whoever says the name.`, remedy: 'Take scram-sha-256 instead of trust.' }];
    if (method === 'peer' || method === 'ident') return [{ what: `${where} lets users of the machine in as roles (${method}).`, remedy: 'Let no agent run on that machine under such a user.' }];
    if (method === 'password') return [{ what: `${where} takes passwords in clear.`, remedy: 'Take scram-sha-256 instead of password.' }];
    return [];
  });
}

const shownMax = 10;

function listed(names: readonly string[]): string {
  return `${names.slice(0, shownMax).join(', ')}${names.length > shownMax ? ` and ${names.length - shownMax} more` : ''}`;
}
