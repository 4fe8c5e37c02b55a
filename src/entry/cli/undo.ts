/**
 * `backstop undo`: shows what would put back what actions changed, and with `--yes`, or after a yes in the terminal, does it.
 * It works whether Backstop runs or not, as long as the database and the storage of recovery points can be reached. Doing it
 * needs the operator's token; every undo is an action on record, which can be undone by the same command.
 */
import { createInterface } from 'node:readline';
import type { Config } from '../../config.ts';
import { Failure } from '../../core/failure.ts';
import type { OnConflict, UndoPolicy, UndoReport } from '../../core/recovery/undo-plan.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { operatorTokenOf } from './operator-token.ts';
import { configOf, dataFlagOf, type Options, withJson, withServerAndStorage } from './options.ts';
import { undoText } from './undo-text.ts';

type Wanted = { readonly kind: 'last'; readonly agent?: string } | { readonly kind: 'ids'; readonly ids: readonly string[] } | { readonly kind: 'window'; readonly agent?: string; readonly since?: string; readonly until?: string };

const conflictAnswers: readonly OnConflict[] = ['skip', 'force'];
/** What is over sooner needs no progress. */
const quietMs = 1_500;

export const addUndoCommand: CommandMaker = (program, deps) => {
  const undo = program.command('undo [action...]').description('Show what an undo of actions would change, or do it').addHelpText('after', `
Examples:
  backstop undo last
  backstop undo act_01k9x2m4
  backstop undo act_01k9x2m4 --yes
  backstop undo act_01k9x2m4 --on-conflict skip --yes
  backstop undo act_01k9x2m4 --merge --json
  backstop undo --agent reporting --since 30m
  backstop undo --since 2026-11-21T09:00 --until 2026-11-21T09:15 --yes

Ids are in \`backstop log\`, which marks what can be undone; they may be shortened while they stay clear. \`last\` is the newest
action that can be undone (with --agent: of that agent), an undo itself only where it is named. Several actions are
undone newest first, in one transaction. Rows that were edited since are never overwritten unless you say force.`);
  withJson(undo, 'print one JSON object; without --yes nothing is asked and nothing is changed')
    .option('--yes', 'do it without asking')
    .option('--on-conflict <what>', 'rows edited since: skip leaves them as they are now, force makes them as before')
    .option('--merge', 'where only other columns were edited since, keep those edits')
    .option('--agent <name>', 'all that this agent did, and that can be undone')
    .option('--since <time>', 'all from then on: 2026-11-21T09:00, or 30m, 2h, 1d ago')
    .option('--until <time>', 'all before then')
    .option('--token <token>', 'the operator\'s token (better: BACKSTOP_OPERATOR_TOKEN, which no list of processes shows)');
  withServerAndStorage(undo)
    .action(async (ids: readonly string[], options: Options) => {
      const config = configOf(options);
      const [wanted, policy] = [wantedOf(ids, options, deps.now()), policyOf(options)];
      const report = await deps.withUndo(config, { onProgress: progress(deps) }, async (work) => {
        if (options['yes'] === true) return work.apply(operatorTokenOf(config, options), wanted, policy);
        const plan = await work.plan(wanted, policy);
        if (options['json'] === true || plan.rowsLeft > 0 && policy.onConflict !== 'skip' || !isTerminal(deps.input)) return plan;
        await deps.print(textOf(plan, { deps, config, ids, options }));
        return await saysYes(deps) ? work.apply(operatorTokenOf(config, options), wanted, policy) : undefined;
      });
      if (report !== undefined) await deps.print(options['json'] === true ? `${JSON.stringify(report)}\n` : textOf(report, { deps, config, ids, options }));
    });
};

interface Called { readonly deps: CliDeps; readonly config: Config; readonly ids: readonly string[]; readonly options: Options }

function textOf(report: UndoReport, { deps, config, ids, options }: Called): string {
  const upstream = typeof options['upstream'] === 'string' ? ['--upstream "$BACKSTOP_UPSTREAM"'] : [];
  const flags = ['agent', 'since', 'until'].flatMap((name) => (typeof options[name] === 'string' ? [`--${name} ${options[name]}`] : []));
  const again = [`${deps.self} undo`, ...ids, ...flags, ...upstream, ...(options['merge'] === true ? ['--merge'] : [])].join(' ');
  return undoText(report, { self: deps.self, again: `${again}${dataFlagOf(config)}`, flags: `${upstream.length === 0 ? '' : ` ${upstream.join(' ')}`}${dataFlagOf(config)}`, policy: policyOf(options) });
}

function policyOf(options: Options): UndoPolicy {
  const given = options['onConflict'];
  const onConflict = given === undefined ? 'refuse' : conflictAnswers.find((answer) => answer === given);
  if (onConflict === undefined) throw new Failure('usage', `--on-conflict takes ${conflictAnswers.join(' or ')}`);
  return { onConflict, merges: options['merge'] === true };
}

function wantedOf(ids: readonly string[], options: Options, now: Date): Wanted {
  const agent = typeof options['agent'] === 'string' ? options['agent'] : undefined;
  const [since, until] = (['since', 'until'] as const).map((name) => (typeof options[name] === 'string' ? timeOf(options[name], name, now) : undefined));
  if (ids.length === 1 && ids[0] === 'last' && since === undefined && until === undefined) return { kind: 'last', ...(agent === undefined ? {} : { agent }) };
  const isWindow = agent !== undefined || since !== undefined || until !== undefined;
  if (ids.length > 0 && isWindow) throw new Failure('usage', 'actions are named by their ids or by --agent, --since and --until, not both');
  if (ids.length > 0) return { kind: 'ids', ids };
  if (agent === undefined && since === undefined) throw new Failure('usage', 'which actions? Name them by their ids, or by --agent or --since');
  return { kind: 'window', ...(agent === undefined ? {} : { agent }), ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) };
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function timeOf(text: string, name: string, now: Date): string {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = count === undefined ? Date.parse(text) : now.getTime() - Number(count) * (unitMs[unit] ?? 0);
  if (Number.isNaN(ms)) throw new Failure('usage', `--${name} takes a time such as 2026-11-21T09:00 or 30m`);
  return new Date(ms).toISOString();
}

function isTerminal(input: CliDeps['input']): boolean { return 'isTTY' in input && input.isTTY === true; }

async function saysYes({ input, tell }: CliDeps): Promise<boolean> {
  tell('Undo this? Type yes, or anything else to leave it.');
  const lines = createInterface({ input });
  try {
    for await (const line of lines) return /^y(es)?$/i.test(line.trim());
    return false;
  } finally {
    lines.close();
  }
}

function progress({ tell, now }: CliDeps): (what: string) => void {
  const since = now().getTime();
  return (what) => { if (now().getTime() - since > quietMs) tell(`  ${what} …`); };
}
