/**
 * `backstop ledger verify`: hashes the record again from its first entry and names the first one that was changed,
 * removed or put in. Exit code 5 when there is one.
 */
import { Failure } from '../../core/failure.ts';
import type { CommandMaker } from './command.ts';
import { type Options, withStore, withJson, withMemory } from './options.ts';

export const addLedgerCommand: CommandMaker = (program, deps) => {
  const ledger = program.command('ledger').description('Verify the record').addHelpText('after', `
Example:
  backstop ledger verify`);
  withStore(withJson(ledger.command('verify').description('Hash the whole record again and name the first broken entry'))).action((options: Options) => withMemory(deps, options, async (memory) => {
    const { entries, broken } = await memory.ledger.verify();
    if (options['json'] === true) await deps.print(`${JSON.stringify({ ok: broken === undefined, entries, broken: broken ?? null })}\n`);
    if (broken !== undefined) throw new Failure('ledger_broken', `the record is broken at entry ${broken.seq}: ${broken.why}`, { detail: `${entries} entries before it hold.` });
    if (options['json'] !== true) await deps.print(`The record holds: ${entries} entries, each bound to the one before it.\n`);
  }));
};
