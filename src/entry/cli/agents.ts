/**
 * `backstop agents`: who may connect. A token is printed once, when it is made, with the connection string that holds it;
 * only a verifier is kept. Revoking or rotating ends the sessions that use the old token.
 */
import type { Command } from 'commander';
import type { Config } from '../../config.ts';
import { columns } from './columns.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { type Options, withStore, withJson, withMemory } from './options.ts';
import { agentTokenFile, readPrivateFile, removePrivateFile, writePrivateFile } from './private-file.ts';
import { connectionString, servingOf } from './serving.ts';

const by = 'operator';

export const addAgentsCommand: CommandMaker = (program, deps) => {
  const agents = program.command('agents').description('Add, list, rotate and revoke agents').addHelpText('after', `
Examples:
  backstop agents add reporting --database app
  backstop agents rotate reporting
  backstop agents revoke reporting`);
  shared(agents.command('add <name>').description('Add an agent; its token is shown once').option('--database <name>', 'the only database it may open (default: any)'))
    .action((name: string, options: Options) => withMemory(deps, options, async (memory, config) => {
      const database = typeof options['database'] === 'string' ? options['database'] : null;
      const { agent, token } = await memory.identities.addAgent(name, database, by);
      await deps.print(tokenText(config, agent, token, options));
    }));
  shared(agents.command('list').description('List the agents')).action((options: Options) => withMemory(deps, options, async (memory) => {
    const all = await memory.identities.listAgents();
    await deps.print(options['json'] === true ? `${JSON.stringify(all)}\n` : columns([
      ['AGENT', 'DATABASE', 'STATE', 'SINCE'],
      ...all.map(({ name, database, revokedAt, rotatedAt, createdAt }) => [
        name, database ?? 'any', revokedAt === null ? 'active' : 'revoked', revokedAt ?? rotatedAt ?? createdAt,
      ]),
    ]));
  }));
  shared(agents.command('rotate <name>').description('Give an agent a new token; the old one and its sessions end')).action((name: string, options: Options) => withMemory(deps, options, async (memory, config) => {
    const { agent, token } = await memory.identities.rotateAgent(name, by);
    if (readPrivateFile(config.dataDir, agentTokenFile(name)) !== undefined) writePrivateFile(config.dataDir, agentTokenFile(name), token);
    await deps.print(tokenText(config, agent, token, options));
  }));
  addRevoke(agents, deps);
};

function addRevoke(agents: Command, deps: CliDeps): void {
  shared(agents.command('revoke <name>').description('End an agent: its token and its sessions')).action((name: string, options: Options) => withMemory(deps, options, async (memory, config) => {
    const agent = await memory.identities.revokeAgent(name, by);
    removePrivateFile(config.dataDir, agentTokenFile(name));
    await deps.print(options['json'] === true ? `${JSON.stringify(agent)}\n` : `Agent ${agent.name} is revoked; its sessions end within a second.\n`);
  }));
}

function shared(command: Command): Command { return withStore(withJson(command)); }

function tokenText(config: Config, agent: { readonly name: string; readonly database: string | null }, token: string, options: Options): string {
  const serving = servingOf(config);
  const database = agent.database ?? serving.database;
  const url = connectionString({ ...serving, database }, agent.name, token);
  if (options['json'] === true) return `${JSON.stringify({ name: agent.name, database: agent.database, token, url })}\n`;
  return `Agent ${agent.name} (${agent.database === null ? 'any database' : `database ${agent.database}`}). Its token is shown now and never again:\n\n  token       ${token}\n  connection  ${url}\n`;
}
