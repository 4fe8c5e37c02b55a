/**
 * `backstop version`: the version of Backstop and of the Node that runs it.
 */
import type { CommandMaker } from './command.ts';
import { withJson } from './options.ts';

export const addVersionCommand: CommandMaker = (program, deps) => {
  withJson(program.command('version').description('Print the version of Backstop and of Node')).action(async ({ json }: { json?: true }) => {
    const node = process.version;
    await deps.print(json === true ? `${JSON.stringify({ version: deps.version, node })}\n` : `backstop ${deps.version} (Node ${node.slice(1)})\n`);
  });
};
