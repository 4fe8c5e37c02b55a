/**
 * `backstop agents`: who may connect. A token is printed once, when it is made, with the connection string that holds it;
 * only a verifier is kept. Revoking or rotating ends the sessions that use the old token.
 */
import type { Command } from 'commander';
import { Failure } from '../../core/failure.ts';
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
  backstop agents add reporting --database app --connections 20
  backstop agents add nightly --certificate        # no token: its client certificate names it
  backstop agents rotate reporting
  backstop agents revoke reporting`);
  shared(agents.command('add <name>').description('Add an agent; its token is shown once').option('--database <name>', 'the only database it may open (default: any)')
    .option('--connections <count>', 'how many connections it may have at once (default: as gateway.max_agent_connections says)')
    .option('--certificate', 'it has no token and logs in by a certificate of gateway.tls_client_ca whose common name, or a DNS name in it, is NAME'))
    .action((name: string, options: Options) => withMemory(deps, options, async (memory, config) => {
      const database = typeof options['database'] === 'string' ? options['database'] : null;
      const connectionsMax = connectionsOf(options);
      if (options['certificate'] === true) {
        const agent = await memory.identities.addCertifiedAgent(name, database, by, connectionsMax);
        await deps.print(certificateText(config, agent, options));
        return;
      }
      const { agent, token } = await memory.identities.addAgent(name, database, by, connectionsMax);
      await deps.print(tokenText(config, agent, token, options));
    }));
  shared(agents.command('list').description('List the agents')).action((options: Options) => withMemory(deps, options, async (memory) => {
    const all = await memory.identities.listAgents();
    await deps.print(options['json'] === true ? `${JSON.stringify(all)}\n` : columns([
      ['AGENT', 'DATABASE', 'LOGIN', 'CONNECTIONS', 'STATE', 'SINCE'],
      ...all.map(({ name, database, login, connectionsMax, revokedAt, rotatedAt, createdAt }) => [
        name, database ?? 'any', login, connectionsMax === null ? 'default' : String(connectionsMax), revokedAt === null ? 'active' : 'revoked', revokedAt ?? rotatedAt ?? createdAt,
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

function connectionsOf(options: Options): number | undefined {
  const given = options['connections'];
  if (given === undefined) return undefined;
  if (typeof given === 'string' && /^[1-9]\d{0,5}$/.test(given)) return Number(given);
  throw new Failure('usage', `--connections takes a number from 1 to 999999, not ${JSON.stringify(given)}`);
}

function certificateText(config: Config, agent: { readonly name: string; readonly database: string | null }, options: Options): string {
  const serving = servingOf(config);
  const database = agent.database ?? serving.database;
  if (options['json'] === true) return `${JSON.stringify({ name: agent.name, database: agent.database, token: null })}\n`;
  const warning = config.gateway.clientCertificates === undefined ? '\n  It cannot log in before the gateway is started with gateway.tls_client_ca.\n' : '';
  return `Agent ${agent.name} logs in by its certificate:\n\n  psql "host=${serving.host} port=${serving.gatewayPort} user=${agent.name} dbname=${database} sslmode=require sslcert=${agent.name}.pem sslkey=${agent.name}.key"\n${warning}`;
}

function tokenText(config: Config, agent: { readonly name: string; readonly database: string | null }, token: string, options: Options): string {
  const serving = servingOf(config);
  const database = agent.database ?? serving.database;
  const url = connectionString({ ...serving, database }, agent.name, token);
  if (options['json'] === true) return `${JSON.stringify({ name: agent.name, database: agent.database, token, url })}\n`;
  return `Agent ${agent.name} (${agent.database === null ? 'any database' : `database ${agent.database}`}). Its token is shown now and never again:\n\n  token       ${token}\n  connection  ${url}\n`;
}
