/**
 * Identities: who may speak. Of an agent only a SCRAM verifier is kept, of an operator only a SHA-256 of the token: both
 * tokens carry 256 random bits, so neither can be guessed from what is stored and a slow hash would add nothing. An
 * agent's token begins `bsa_`, an operator's `bso_`; they are kept apart, so an agent's token answers no approval.
 */
import { Failure } from '../core/failure.ts';
import type { AdminBody } from '../core/ledger/entry.ts';
import type { Clock } from '../lib/clock.ts';
import { sha256Hex } from '../lib/sha256.ts';
import type { Changes, StoreDatabase, Tables } from './database.ts';
import { appendEntries } from './ledger-append.ts';

export interface Agent {
  readonly name: string;
  /** The only database it may open; null: any. */
  readonly database: string | null;
  readonly createdAt: string;
  readonly rotatedAt: string | null;
  readonly revokedAt: string | null;
  /** Sessions that logged in under an older one must end. */
  readonly generation: number;
  /** By its token, or by a client certificate that names it; never by either. */
  readonly login: 'token' | 'certificate';
  /** How many connections it may have at once; null: as many as the gateway gives to any agent. */
  readonly connectionsMax: number | null;
}

export interface AgentLogin extends Agent {
  /** `SCRAM-SHA-256$…`; empty for an agent that has no token. */
  readonly verifier: string;
}

export interface Identities {
  /** Throws Failure `conflict` when the name is taken, `usage` when it is no name. Returns the token, which is not kept. */
  addAgent(name: string, database: string | null, by: string, connectionsMax?: number): Promise<{ readonly agent: Agent; readonly token: string }>;
  /** An agent without a token: it comes with a certificate of a trusted authority that names it. Throws as `addAgent`. */
  addCertifiedAgent(name: string, database: string | null, by: string, connectionsMax?: number): Promise<Agent>;
  /** A new token; the old one and its live sessions end. Throws `not_found`, or `conflict` when revoked or without token. */
  rotateAgent(name: string, by: string): Promise<{ readonly agent: Agent; readonly token: string }>;
  revokeAgent(name: string, by: string): Promise<Agent>;
  listAgents(): Promise<readonly Agent[]>;
  /** undefined: no such agent, or revoked. */
  findLogin(name: string): Promise<AgentLogin | undefined>;
  /** Of each agent of these that is not revoked: the generation of its token. */
  generationsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Adds an operator; returns the token, which is not kept. */
  addOperator(name: string): Promise<{ readonly token: string }>;
  hasOperators(): Promise<boolean>;
  /** The operator's name. Throws Failure `not_permitted`, also for an agent's token. */
  authenticateOperator(token: string): Promise<string>;
}

export interface IdentitiesDeps {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  readonly randomBytes: (count: number) => Buffer;
  /** A SCRAM-SHA-256 verifier of a token, in its stored form. */
  readonly makeVerifier: (token: string) => Promise<string>;
}

const namePattern = /^[a-z][a-z0-9_-]{0,62}$/;
const tokenBytes = 32;

export function createIdentities(deps: IdentitiesDeps): Identities {
  return new SqlIdentities(deps);
}

class SqlIdentities implements Identities {
  readonly #deps: IdentitiesDeps;

  constructor(deps: IdentitiesDeps) { this.#deps = deps; }

  async addAgent(name: string, database: string | null, by: string, connectionsMax?: number): Promise<{ readonly agent: Agent; readonly token: string }> {
    checkName(name);
    const { token, verifier } = await this.#newToken();
    const agent = await this.#insert({ name, database_name: database, verifier, login: 'token', connections_max: connectionsMax ?? null }, by);
    return { agent, token };
  }

  async addCertifiedAgent(name: string, database: string | null, by: string, connectionsMax?: number): Promise<Agent> {
    checkName(name);
    return this.#insert({ name, database_name: database, verifier: '', login: 'certificate', connections_max: connectionsMax ?? null }, by);
  }

  async #insert(given: Pick<Tables['agent'], 'name' | 'database_name' | 'verifier' | 'login' | 'connections_max'>, by: string): Promise<Agent> {
    const { name } = given;
    const row: Tables['agent'] = { ...given, created_at: this.#now(), rotated_at: null, revoked_at: null, generation: 1 };
    await this.#deps.database.transact(async (changes) => {
      const taken = await changes.selectFrom('agent').select('name').where('name', '=', name).executeTakeFirst();
      if (taken !== undefined) throw new Failure('conflict', `there is an agent ${name} already`, { hint: `Choose another name, or give it a new token with \`backstop agents rotate ${name}\`.` });
      await changes.insertInto('agent').values(row).execute();
      await this.#record(changes, 'agent-added', by, name);
    });
    return fromRow(row);
  }

  async rotateAgent(name: string, by: string): Promise<{ readonly agent: Agent; readonly token: string }> {
    const { token, verifier } = await this.#newToken();
    const agent = await this.#change(name, { verifier, rotated_at: this.#now() }, 'agent-rotated', by, checkToken);
    return { agent, token };
  }

  revokeAgent(name: string, by: string): Promise<Agent> {
    return this.#change(name, { revoked_at: this.#now() }, 'agent-revoked', by);
  }

  async listAgents(): Promise<readonly Agent[]> {
    return (await this.#deps.database.queries.selectFrom('agent').selectAll().orderBy('name').execute()).map(fromRow);
  }

  async findLogin(name: string): Promise<AgentLogin | undefined> {
    const row = await this.#deps.database.queries.selectFrom('agent').selectAll().where('name', '=', name).where('revoked_at', 'is', null).executeTakeFirst();
    return row === undefined ? undefined : { ...fromRow(row), verifier: row.verifier };
  }

  async generationsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#deps.database.queries.selectFrom('agent').select(['name', 'generation']).where('name', 'in', names).where('revoked_at', 'is', null).execute();
    return new Map(rows.map(({ name, generation }) => [name, generation]));
  }

  async addOperator(name: string): Promise<{ readonly token: string }> {
    checkName(name);
    const token = `bso_${this.#deps.randomBytes(tokenBytes).toString('base64url')}`;
    await this.#deps.database.transact(async (changes) => {
      const taken = await changes.selectFrom('operator').select('name').where('name', '=', name).executeTakeFirst();
      if (taken !== undefined) throw new Failure('conflict', `there is an operator ${name} already`);
      await changes.insertInto('operator').values({ name, token_hash: sha256Hex(token), created_at: this.#now(), revoked_at: null }).execute();
      await this.#record(changes, 'operator-added', name, name);
    });
    return { token };
  }

  async hasOperators(): Promise<boolean> {
    return await this.#deps.database.queries.selectFrom('operator').select('name').where('revoked_at', 'is', null).executeTakeFirst() !== undefined;
  }

  async authenticateOperator(token: string): Promise<string> {
    // Looked up by hash: how long that takes says nothing about a token that was not presented.
    const row = await this.#deps.database.queries.selectFrom('operator').select('name').where('token_hash', '=', sha256Hex(token)).where('revoked_at', 'is', null).executeTakeFirst();
    if (row !== undefined) return row.name;
    throw new Failure('not_permitted', token.startsWith('bsa_') ? 'an agent\'s token answers no approval' : 'this is no operator token of this store');
  }

  #now(): string { return this.#deps.clock.now().toISOString(); }

  async #newToken(): Promise<{ readonly token: string; readonly verifier: string }> {
    const token = `bsa_${this.#deps.randomBytes(tokenBytes).toString('base64url')}`;
    return { token, verifier: await this.#deps.makeVerifier(token) };
  }

  #change(name: string, set: Partial<Tables['agent']>, what: AdminBody['what'], by: string, checkRow: (row: Tables['agent']) => void = () => {}): Promise<Agent> {
    return this.#deps.database.transact(async (changes) => {
      const row = await changes.selectFrom('agent').selectAll().where('name', '=', name).executeTakeFirst();
      if (row === undefined) throw new Failure('not_found', `there is no agent ${name}`);
      if (row.revoked_at !== null) throw new Failure('conflict', `agent ${name} is revoked`);
      checkRow(row);
      const changed = { ...row, ...set, generation: row.generation + 1 };
      await changes.updateTable('agent').set(changed).where('name', '=', name).execute();
      await this.#record(changes, what, by, name);
      return fromRow(changed);
    });
  }

  async #record(changes: Changes, what: AdminBody['what'], by: string, subject: string): Promise<void> {
    await appendEntries(changes, this.#deps.clock.now(), [{ kind: 'admin', what, by, subject, note: null }]);
  }
}

function checkName(name: string): void {
  if (!namePattern.test(name)) {
    throw new Failure('usage', `${JSON.stringify(name.slice(0, 80))} is no name`, { hint: 'Use lower-case letters, digits, _ and -, beginning with a letter, 63 at most.' });
  }
}

function checkToken({ name, login }: Tables['agent']): void {
  if (login === 'token') return;
  throw new Failure('conflict', `agent ${name} comes with a certificate and has no token`, { hint: 'Give it a new certificate, and put the old one on the revocation list.' });
}

function fromRow(row: Tables['agent']): Agent {
  return {
    name: row.name, database: row.database_name, createdAt: row.created_at,
    rotatedAt: row.rotated_at, revokedAt: row.revoked_at, generation: row.generation,
    login: row.login === 'certificate' ? 'certificate' : 'token', connectionsMax: row.connections_max,
  };
}
