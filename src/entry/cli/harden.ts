/**
 * `backstop harden`: looks at a database and prints what makes the gateway the only way in for agents: SQL, lines for
 * pg_hba.conf, and what neither can close. It changes nothing unless `--apply` is given with an operator's token; then
 * every statement goes on record and all of them run in one transaction.
 */
import { Failure } from '../../core/failure.ts';
import type { HardenPlan, HardenWish } from '../../core/harden/harden-plan.ts';
import { printable } from './columns.ts';
import type { CommandMaker } from './command.ts';
import { operatorTokenOf } from './operator-token.ts';
import { type Options, withJson, withMemory, withStore } from './options.ts';

const roleDefault = 'backstop_agents';

export const addHardenCommand: CommandMaker = (program, deps) => {
  withStore(withJson(program.command('harden').description('Print (or apply) what makes the gateway the only way into a database'), 'print one JSON object'))
    .requiredOption('--db <url>', 'the database, as a superuser or its owner')
    .option('--role <name>', 'as whom the gateway will connect', roleDefault)
    .option('--may <what>', 'what agents may do with the data at all: read or write', 'read')
    .option('--schema <name...>', 'only these schemas (default: all that are users\' own)')
    .option('--gateway <address>', 'from where the gateway connects, as pg_hba.conf writes it (default: from here)')
    .option('--apply', 'run the SQL in one transaction, on record; pg_hba.conf stays yours to change')
    .option('--token <token>', 'with --apply: the operator\'s token (better: BACKSTOP_OPERATOR_TOKEN)')
    .addHelpText('after', `
Examples:
  backstop harden --db postgres://postgres@db.internal/app
  backstop harden --db postgres://postgres@db.internal/app --may write --schema public --gateway 10.0.0.5/32 > harden.sql
  backstop harden --db postgres://postgres@db.internal/app --may write --apply
  backstop harden --db postgres://postgres@db.internal/app --json | jq -r '.gaps[].what'

Without --apply nothing is changed, and the output is a script for psql. The role gets no password: set one with
\\password, and give it to Backstop alone as --upstream.`)
    .action(async (options: Options) => {
      const hardening = await deps.openHardening(textOf(options, 'db'), wishOf(options), schemasOf(options));
      try {
        const { plan, wish } = hardening;
        const isApplied = options['apply'] === true;
        if (isApplied) await withMemory(deps, options, (memory, config) => hardening.apply(memory, operatorTokenOf(config, options)));
        await deps.print(options['json'] === true ? `${JSON.stringify({ ...wish, ...plan, isApplied })}\n` : scriptOf(plan, wish, isApplied));
      } finally {
        await hardening.close();
      }
    });
};

function wishOf(options: Options): Omit<HardenWish, 'gateway'> & { readonly gateway: string | undefined } {
  const role = textOf(options, 'role');
  if (!/^[^\0]{1,63}$/.test(role) || Buffer.byteLength(role) > 63 || role.startsWith('pg_')) throw new Failure('usage', '--role takes the name of a role, which has at most 63 bytes and does not begin with pg_');
  const may = textOf(options, 'may');
  if (may !== 'read' && may !== 'write') throw new Failure('usage', '--may takes read or write');
  const gateway = typeof options['gateway'] === 'string' ? options['gateway'] : undefined;
  if (gateway !== undefined && !/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(gateway)) throw new Failure('usage', '--gateway takes an address with its mask, such as 10.0.0.5/32');
  return { role, may, gateway };
}

function schemasOf(options: Options): readonly string[] {
  const given = options['schema'];
  return Array.isArray(given) ? given.map(String) : [];
}

function textOf(options: Options, name: string): string {
  const given = options[name];
  return typeof given === 'string' ? given : '';
}

/** A name of the database may hold a line break, and what follows it would be no comment any more. */
function scriptOf({ statements, hba, gaps }: HardenPlan, { role }: HardenWish, isApplied: boolean): string {
  const sql = statements.flatMap(({ sql: one, why }) => [`-- ${printable(why)}`, `${one};`]);
  return `${[
    isApplied ? '-- These statements were run in one transaction and are on record.' : '-- Nothing was changed. Run this with psql, or again with --apply.',
    ...(isApplied ? sql : ['BEGIN;', ...sql, 'COMMIT;']), '',
    '-- At the top of pg_hba.conf, above every other line; then SELECT pg_reload_conf();', ...hba.map((line) => `--   ${printable(line)}`), '',
    `-- Then: \\password ${printable(role)}   and give that password to Backstop alone.`, '',
    gaps.length === 0 ? '-- Nothing else was found open.' : '-- WHAT THIS COULD NOT CLOSE', ...gaps.flatMap(({ what, remedy }) => [`--   ${printable(what)}`, `--     ${printable(remedy)}`]),
  ].join('\n')}\n`;
}
