/**
 * `backstop approvals`: what waits for a person, and a person's answer. Reading needs the data folder, answering also the
 * operator's token: given, in the environment, or kept beside the store by `up`. An agent's token answers nothing.
 */
import type { Command } from 'commander';
import type { Answer, Approval, ApprovalState } from '../../core/approval.ts';
import { Failure } from '../../core/failure.ts';
import { answerText, approvalJson, approvalText } from './approval-text.ts';
import { columns } from './columns.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { impactCell } from './impact-text.ts';
import { type Options, dataFlagOf, wholeNumber, withStore, withJson, withMemory } from './options.ts';
import { operatorTokenOf } from './operator-token.ts';

const states: readonly (ApprovalState | 'all')[] = ['pending', 'approved', 'denied', 'expired', 'used', 'all'];
const listMax = 10_000;

export const addApprovalsCommand: CommandMaker = (program, deps) => {
  const approvals = program.command('approvals').description('List, show, approve, override and deny what waits for a person').addHelpText('after', `
Examples:
  backstop approvals list
  backstop approvals show apr_7k2m9q4d1x
  backstop approvals approve apr_7k2m9q4d1x
  backstop approvals deny apr_7k2m9q4d1x --reason "use the archive table instead"
  backstop approvals override apr_7k2m9q4d1x --reason "the dump of this morning is enough"`);
  addList(approvals, deps);
  shared(approvals.command('show <id>').description('Show what a statement is, what it reaches and why it is held'))
    .action((id: string, options: Options) => withMemory(deps, options, async (memory, config) => {
      const approval = await memory.approvals.get(id);
      await deps.print(options['json'] === true ? jsonLine(approval) : approvalText(approval, deps.now(), { self: deps.self, dataFlag: dataFlagOf(config) }));
    }));
  addAnswer(approvals, deps, 'approve', 'approved', 'Let the statement run, once');
  addAnswer(approvals, deps, 'override', 'overridden', 'Let a statement run, once, although nothing brings back what it destroys; marked for ever');
  addAnswer(approvals, deps, 'deny', 'denied', 'Refuse the statement; the agent is told the reason');
};

function addList(approvals: Command, deps: CliDeps): void {
  shared(approvals.command('list').description('List requests, newest first'))
    .option('--state <state>', states.join(', '), 'pending')
    .option('--limit <count>', 'at most so many', '50')
    .action((options: Options) => withMemory(deps, options, async (memory) => {
      const state = states.find((known) => known === options['state']);
      if (state === undefined) throw new Failure('usage', `--state takes ${states.join(', ')}`);
      const found = await memory.approvals.list(state, wholeNumber(String(options['limit']), '--limit', 1, listMax));
      await deps.print(options['json'] === true ? found.map(jsonLine).join('') : listText(found, state));
    }));
}

function listText(found: readonly Approval[], state: string): string {
  if (found.length === 0) return state === 'pending' ? 'Nothing waits for an answer.\n' : 'There is none.\n';
  return columns([
    ['APPROVAL', 'STATE', 'LEVEL', 'ROWS', 'UNDO', 'AGENT', 'DATABASE', 'REQUESTED', 'STATEMENT'],
    ...found.map(({ id, state: now, risk, agent, database, requestedAt, redacted, impact, kind, coverage }) => [id, now, risk.level, impactCell(impact), kind === 'override' ? 'none: override' : coverage?.scope ?? '', agent, database, requestedAt.slice(0, 19).replace('T', ' '), redacted]),
  ]);
}

function addAnswer(approvals: Command, deps: CliDeps, name: 'approve' | 'override' | 'deny', answer: Answer['answer'], what: string): void {
  const command = shared(approvals.command(`${name} <id>`).description(what));
  if (name === 'override') command.requiredOption('--reason <text>', 'why it must run all the same; goes on record');
  else command.option('--reason <text>', 'goes on record, and to the agent');
  command
    .option('--token <token>', 'the operator\'s token (better: BACKSTOP_OPERATOR_TOKEN, which no list of processes shows)')
    .action((id: string, options: Options) => withMemory(deps, options, async (memory, config) => {
      const reason = typeof options['reason'] === 'string' ? options['reason'] : null;
      const approval = await memory.answer(operatorTokenOf(config, options), id, { answer, reason });
      await deps.print(options['json'] === true ? jsonLine(approval) : answerText(approval, deps.now()));
    }));
}

function jsonLine(approval: Approval): string { return `${JSON.stringify(approvalJson(approval))}\n`; }

function shared(command: Command): Command { return withStore(withJson(command, 'print one JSON object a line')); }
