/**
 * The sections of a policy: what a policy file, and each scope in it, may say. Each key has its description here and
 * nowhere else; a section that stands in a scope is checked like the one above it, and replaces it whole.
 */
import { z } from 'zod';
import { operations } from './operation.ts';
import { splitName } from './pattern.ts';

const listMax = 1000;
const countMax = 1_000_000_000_000;
const secondsMax = 24 * 3600;

const decision = z.enum(['allow', 'hold', 'deny']);
const refusal = z.enum(['hold', 'deny']);
const name = z.string().max(200).refine((text) => splitName(text).some((part) => part !== ''), 'names nothing');
const count = z.int().min(0).max(countMax).optional();
const seconds = z.int().min(1).max(secondsMax).optional();
const column = name.refine((text) => splitName(text).length >= 2, 'name the table too: `users.password`, `public.users.password`, or `*.password` for every table');

const levels = z.strictObject({
  SAFE: decision.describe('Reads, and what changes nothing.'),
  LOW: decision.describe('Effects that stay inside the session: temporary tables, cursors, row locks, harmless settings.'),
  HIGH: decision.describe('Writes and schema changes with a bound: INSERT, UPDATE or DELETE with WHERE, ALTER TABLE; calls that could not be proved harmless.'),
  CRITICAL: decision.describe('Losses without a bound, programs and files on the server, control of the server, privileges.'),
}).describe('What each level of risk gets. A worse level never gets a milder decision than a better one.');

const unknown = refusal.describe('What an effect gets that could not be proved to be anything milder; it cannot be allowed.');

const recovery = z.strictObject({
  required_from: z.enum(['LOW', 'HIGH', 'CRITICAL', 'never'])
    .describe('From this level on, a statement that would lose data is denied unless it can be undone, and runs only with its recovery point. never: nothing is kept of any statement.'),
  undo_allows: z.enum(['HIGH', 'CRITICAL']).optional()
    .describe('Up to this level, what a level would hold runs without a person where its undo is kept (to the exact rows; of what drops or empties, where the rows are counted), or where it only adds rows. All other rules stay: more than `limits` allow is still held.'),
  recycle_bin: z.strictObject({
    tables: z.array(name).max(listMax).describe('Tables too large to copy: `events`, `public.events`, `log_*`; all that one DROP TABLE names must be among them.'),
  }).optional().describe('Dropped tables that are set aside inside the database, in a schema that nobody else may use, instead of being copied: at once, whatever their size, but not out of reach of what befalls the server. They take up space until their recovery point is purged.'),
}).refine(({ required_from: from, undo_allows: allows }) => allows === undefined || from !== 'never', {
  path: ['undo_allows'], error: 'nothing can be undone where `required_from` is never; name a level there, or leave this out',
}).describe('When a statement that loses data needs a recovery point first, and what that is worth.');

const protect = z.strictObject({
  tables: z.array(name).max(listMax).default([]).describe('Tables and views: `payments`, `public.payments`, `audit_*`.'),
  schemas: z.array(name).max(listMax).default([]).describe('Schemas, with all that is in them: `billing`, `tenant_*`.'),
  columns: z.array(column).max(listMax).default([]).describe('Columns: `payments.card_number`, `public.users.email`, `*.password`.'),
  on_write: refusal.default('deny').describe('What a write, change, lock, grant or drop of a protected object gets.'),
  on_read: decision.default('allow').describe('What a read of a protected table or schema gets.'),
  on_column_read: refusal.default('deny').describe('What a read of a protected column gets, wherever in a statement it stands.'),
}).describe('Objects with a decision of their own, whatever the level.');

const blocked = z.array(z.enum(operations)).max(listMax).describe('Operations that are always denied; no approval opens them.');

const limits = z.strictObject({
  max_rows: count.describe('The most rows that one statement may change, with those that cascades and triggers change; of a DROP or TRUNCATE, the rows that would be lost.'),
  max_percent: z.int().min(0).max(100).optional().describe('The greatest share of a table that one statement may change, in percent.'),
  above: refusal.default('hold').describe('What a statement gets that would change more; a hold shows the measured numbers to the person who answers.'),
}).describe('How much one statement may change, as measured (or, where a unique key is compared with values, proved) before it runs and measured again while it runs.');

const budget = z.strictObject({
  per: z.enum(['minute', 'hour', 'day']).describe('The window. Each begins on the full minute, hour or day, in UTC.'),
  statements: count.describe('The most statements that one agent may run in it.'),
  rows_changed: count.describe('The most rows that one agent may change in it.'),
  rows_read: count.describe('The most rows that one agent may read in it.'),
  above: refusal.default('deny').describe('What a statement gets once the budget is used up.'),
}).refine(({ statements, rows_changed, rows_read }) => [statements, rows_changed, rows_read].some((most) => most !== undefined), 'names no amount; give statements, rows_changed or rows_read');
const budgets = z.array(budget).max(20).describe('How much one agent may do in a window of time, over all its sessions and all gateways that share a store.');

const timeouts = z.strictObject({
  statement: seconds.describe('Seconds that a statement may run.'),
  lock: seconds.describe('Seconds that a statement may wait for a lock.'),
  idle_in_transaction: seconds.describe('Seconds that an open transaction may do nothing; then the server ends the session.'),
  transaction: seconds.describe('Seconds that a transaction may be open, on PostgreSQL 17 and later.'),
}).describe('Limits of time that an agent cannot lift, from its next connection on. One that is not named stays as the server has it for the role; where the policy only observes, none is set. While a statement is held inside a transaction, that transaction idles.');

const approval = z.strictObject({
  wait: z.int().min(0).max(3600).default(55)
    .describe('Seconds that a held statement waits on its connection; 0 answers at once. Agents often give up after 60.'),
  expires: z.int().min(1).max(30 * 24 * 3600).default(3600).describe('Seconds for which a request, and the answer to it, stays valid.'),
}).describe('How long a held statement waits, and how long its approval lives.');

export const sections = { levels, unknown, recovery, protected: protect, blocked, limits, budgets, timeouts, approval } as const;
