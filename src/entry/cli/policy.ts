/**
 * `backstop policy`: says what is wrong with a policy file before anybody relies on it, and what a policy says of one
 * statement, rule by rule, with the same core that the gateway uses. It runs nothing and records nothing.
 */
import type { Command } from 'commander';
import { Failure } from '../../core/failure.ts';
import { noImpact, unknownImpact, type Impact } from '../../core/impact.ts';
import { noUse } from '../../core/policy/budgets.ts';
import { decide } from '../../core/policy/decide.ts';
import { scopeFor, type Circumstances } from '../../core/policy/match.ts';
import { promiseOf } from '../../core/policy/protection.ts';
import { coverageOf } from '../../core/recovery/coverage.ts';
import { checkPolicy, parsePolicy, type CheckedPolicy } from '../../core/policy/policy.ts';
import { traceRules } from '../../core/policy/trace.ts';
import type { Effect } from '../../core/risk.ts';
import { assess } from '../../core/sql/assess.ts';
import { beginSession } from '../../core/sql/next-session.ts';
import { losesRows } from '../../core/sql/changes-rows.ts';
import { settings } from '../../config-settings.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { configOf, type Options, wholeNumber, withJson } from './options.ts';
import { checkJson, checkText, explanationJson, explanationText, type Explained } from './policy-text.ts';

export const addPolicyCommand: CommandMaker = (program, deps) => {
  const policy = program.command('policy').description('Check policy files, and explain what a policy says of a statement').addHelpText('after', `
Examples:
  backstop policy check ./shop.yaml
  backstop policy explain "DELETE FROM payments" --agent reporting
  backstop policy explain "UPDATE orders SET status = 'x' WHERE id = 1" --agent ci-7 --policy ./shop.yaml --environment staging
  backstop policy explain "SELECT * FROM users" --agent ada --db postgres://me@localhost/app --at 2026-12-24T18:00:00Z`);
  withJson(policy.command('check <file...>').description('Name every mistake in policy files, and what is valid but surely not meant; exit code 2 for a mistake'), 'print one JSON object a file')
    .action((files: readonly string[], options: Options) => check(files, options, deps));
  addExplain(policy, deps);
};

async function check(files: readonly string[], { json }: Options, deps: CliDeps): Promise<void> {
  let wrong = 0;
  for (const file of files) {
    const { text, shownAs } = await deps.policyText(file);
    const checked: CheckedPolicy = checkPolicy(text);
    if (checked.kind === 'invalid') wrong += 1;
    await deps.print(json === true ? checkJson(shownAs, checked) : checkText(shownAs, checked));
  }
  if (wrong > 0) throw new Failure('policy_invalid', `${wrong} of ${files.length} ${files.length === 1 ? 'file' : 'files'} cannot be used`, { hint: 'Correct the named places and check again.' });
}

function addExplain(policy: Command, deps: CliDeps): void {
  const explain = policy.command('explain <sql>').description('Say what a policy makes of a statement: the scope and why, every rule, fired or not, and the verdict')
    .requiredOption('--agent <name>', 'who would send it; of its budgets nothing is taken to be used')
    .option('--database <name>', 'where it would be sent (default: that of --db, or postgres)')
    .option('--at <time>', 'when, in ISO 8601 (default: now)')
    .option('--rows <count>', 'suppose that it would change so many rows')
    .option('--db <url>', 'judge against the catalog of this database')
    .option('--major <number>', 'offline: the PostgreSQL version to judge for, 15 to 18', '18')
    .option('--config <file>', 'configuration file (default backstop.yaml, when there is one)');
  for (const setting of [settings.policy, settings.environment]) explain.option(`--${setting.flag} <${setting.takes}>`, setting.what);
  withJson(explain, 'print one JSON object').action(async (sql: string, options: Options) => {
    const explained = await explainStatement(sql, options, deps);
    await deps.print(options['json'] === true ? explanationJson(explained) : explanationText(explained));
  });
}

async function explainStatement(sql: string, options: Options, deps: CliDeps): Promise<Explained> {
  const config = configOf(options);
  const { text, shownAs } = await deps.policyText(config.policy);
  const policy = parsePolicy(text, shownAs);
  const db = typeof options['db'] === 'string' ? options['db'] : undefined;
  const who: Circumstances = {
    agent: String(options['agent']), database: databaseOf(options, db), environment: config.environment, at: timeOf(options, deps),
  };
  const { catalog, parser, searchPath, role } = db === undefined ? await deps.offlinePlace(wholeNumber(String(options['major']), '--major', 15, 18)) : await deps.livePlace(db);
  const session = beginSession(searchPath, role);
  const { risk, statements, error } = assess(sql, session, catalog, parser);
  const coverage = coverageOf({ statements: statements.map(({ statement }) => statement), risk, session, catalog, parser, isInBlock: false });
  const inForce = scopeFor(policy, who);
  const input = { risk, agent: who.agent, database: who.database, recovery: coverage.scope, why: coverage.why, impact: impactOf(risk.effects, options), used: noUse };
  return { sql, who, policy, inForce, risk, coverage: promiseOf(inForce, risk, coverage) ?? coverage, error, verdict: decide(inForce, input), rules: traceRules(inForce, input), isLive: db !== undefined };
}

/** As supposed; this command measures nothing. */
function impactOf(effects: readonly Effect[], options: Options): Impact {
  const lost = effects.find(losesRows);
  const changed = effects.find(({ kind }) => kind === 'update' || kind === 'delete') ?? lost;
  if (changed === undefined) return noImpact;
  if (options['rows'] === undefined) return unknownImpact('it is counted only when it is about to run; suppose a number with --rows');
  const rows = wholeNumber(String(options['rows']), '--rows', 0, 999_999_999);
  if (changed === lost) return supposedLoss(lost, rows);
  return { kind: 'measured', table: changed.object ?? 'the table', rows, tableRows: null, percent: null, cascades: [], triggers: [], lock: null, sample: null };
}

function supposedLoss({ kind, object = 'the table' }: Effect, count: number): Impact {
  const none = { names: [], count: 0 };
  const rows = { count, isExact: true };
  return { kind: 'loss', verb: kind === 'truncate' ? 'truncate' : 'drop', named: { names: [object], count: 1 }, also: none, refusedBy: none, tables: [{ table: object, rows, bytes: 0 }], tableCount: 1, rows, bytes: 0, triggers: [], lock: null };
}

function databaseOf({ database }: Options, db: string | undefined): string {
  if (typeof database === 'string') return database;
  const path = db === undefined || !URL.canParse(db) ? '' : decodeURIComponent(new URL(db).pathname.slice(1));
  return path === '' ? 'postgres' : path;
}

function timeOf({ at }: Options, deps: CliDeps): Date {
  if (at === undefined) return deps.now();
  const time = new Date(String(at));
  if (Number.isNaN(time.getTime())) throw new Failure('usage', '--at takes a time in ISO 8601, such as 2026-12-24T18:00:00Z');
  return time;
}
