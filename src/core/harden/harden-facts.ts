/**
 * HardenFacts: what must be known of a database to say how the gateway becomes the only way into it. Names of objects are
 * quoted as SQL needs them; names of roles, schemas and databases are plain. Checked where they come from the server.
 */
import { z } from 'zod';

const texts = z.array(z.string());

/** A role that may log in, other than the agents' own. */
const login = z.strictObject({
  name: z.string(), superuser: z.boolean(), createrole: z.boolean(), bypassrls: z.boolean(), replication: z.boolean(),
  /** It may connect to this database, and only because everybody may. */
  connects: z.boolean(), connectsAsPublic: z.boolean(),
  /** It owns, or may write, something in the schemas. */
  writes: z.boolean(),
  /** Roles of PostgreSQL's own that reach files, programs or all data. */
  powers: texts,
});

const privileges = z.array(z.strictObject({ object: z.string(), kind: z.enum(['TABLE', 'SEQUENCE']), privileges: texts }));

export const hardenFactsSchema = z.strictObject({
  major: z.int(), database: z.string(), databaseOwner: z.string(), me: z.string(), isSuperuser: z.boolean(), hasTls: z.boolean(),
  /** From where the server sees this connection; null: a socket of the machine itself. */
  clientAddress: z.string().nullable(),
  role: z.strictObject({
    superuser: z.boolean(), createdb: z.boolean(), createrole: z.boolean(), replication: z.boolean(), bypassrls: z.boolean(), login: z.boolean(),
    memberOf: texts, owns: texts,
  }).nullable(),
  schemas: z.array(z.strictObject({ name: z.string(), publicMayCreate: z.boolean(), owners: texts })),
  databasePublic: texts,
  logins: z.array(login),
  publicPrivileges: privileges, rolePrivileges: privileges,
  /** Signatures that everybody may call: SECURITY DEFINER, or of an extension that reaches beyond the database. */
  publicFunctions: z.array(z.strictObject({ signature: z.string(), why: z.string() })),
  untrustedLanguages: texts, foreignServers: texts, loginTriggers: texts, otherDatabases: texts,
  /** null: this role may not read them. */
  hba: z.array(z.strictObject({
    line: z.int(), type: z.string(), databases: texts, users: texts, address: z.string().nullable(), method: z.string(), error: z.string().nullable(),
  })).nullable(),
});

export type HardenFacts = z.infer<typeof hardenFactsSchema>;
export type LoginFact = HardenFacts['logins'][number];
