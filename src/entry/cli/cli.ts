/**
 * The command line: one table of commands, one place where an expected failure becomes one sentence, a hint and an exit
 * code. Results go to standard output, everything else to standard error, so `--json` can be piped.
 */
import { Command, CommanderError } from 'commander';
import { Failure } from '../../core/failure.ts';
import { addAgentsCommand } from './agents.ts';
import { addApprovalsCommand } from './approvals.ts';
import { addClassifyCommand } from './classify.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { addHardenCommand } from './harden.ts';
import { addLedgerCommand } from './ledger.ts';
import { addLogCommand } from './log.ts';
import { addPolicyCommand } from './policy.ts';
import { addSnapshotsCommand } from './snapshots.ts';
import { addUndoCommand } from './undo.ts';
import { addUpCommand } from './up.ts';
import { addVersionCommand } from './version.ts';

const commands: readonly CommandMaker[] = [
  addUpCommand, addClassifyCommand, addPolicyCommand, addAgentsCommand, addApprovalsCommand, addLogCommand, addLedgerCommand, addUndoCommand, addSnapshotsCommand, addHardenCommand, addVersionCommand,
];

const usageExitCode = 2;

const examples = `
Examples:
  backstop up                                   start with an embedded PostgreSQL and a demo database
  backstop up --upstream postgres://user:password@db.internal/app --policy strict
  backstop classify "DELETE FROM payments"      say what a statement would do, without running it
  backstop policy explain "DELETE FROM payments" --agent reporting
                                                say what the policy answers, rule by rule
  backstop agents add reporting --database app  make an agent; its token is shown once
  backstop approvals list                       what waits for a person
  backstop log --follow                         the record, live
  backstop snapshots list                       the recovery points that undo what was destroyed
  backstop undo ACTION                          show what an undo would change; --yes does it
  backstop harden --db URL                      print what makes the gateway the only way in

Exit codes: 0 done, 2 usage or configuration, 3 port or data folder, 4 store or server, 5 broken record,
6 not permitted, 7 not found, 8 conflict, 9 refused.`;

/** Runs one command; returns the exit code. */
export async function runCli(args: readonly string[], deps: CliDeps): Promise<number> {
  let printed = '';
  const program = new Command('backstop')
    .description('The last line of defence between AI agents and production: a PostgreSQL gateway that judges, holds and records what an agent sends.')
    .version(deps.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help, or that of a command')
    .helpCommand(false)
    .addHelpText('after', examples)
    .showSuggestionAfterError(true);
  for (const add of commands) add(program, deps);
  prepare(program, { writeOut: (text) => { printed += text; }, writeErr: (text) => { deps.tell(text.replace(/^error: /, 'backstop: ').trimEnd()); } });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    return explain(error, deps);
  } finally {
    if (printed !== '') await deps.print(printed);
  }
}

/** Subcommands do not inherit these. */
function prepare(command: Command, output: { readonly writeOut: (text: string) => void; readonly writeErr: (text: string) => void }): void {
  command.exitOverride().configureOutput(output).configureHelp({ sortOptions: false, showGlobalOptions: false });
  for (const inner of command.commands) prepare(inner, output);
}

function explain(error: unknown, deps: CliDeps): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : usageExitCode;
  if (!(error instanceof Failure)) throw error;
  const [what, ...lines] = [sentence(error.message), ...(error.detail === undefined ? [] : [error.detail]), error.hint];
  deps.tell([`backstop: ${what}`, ...lines.flatMap((line) => line.split('\n')).map((line) => `  ${line}`)].join('\n'));
  return error.exitCode;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
