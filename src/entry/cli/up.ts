/**
 * `backstop up`: starts everything in the foreground, makes what a first run needs (an agent, an operator), prints one
 * block that says how to use it, and stops cleanly when asked to. What is in the way is said before anything is started.
 */
import { createServer } from 'node:net';
import type { Backstop } from '../../app/backstop.ts';
import type { Config } from '../../config.ts';
import { Failure } from '../../core/failure.ts';
import { createLog } from '../../lib/log.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { type Options, configOf, dataFlagOf, withEverySetting, withJson } from './options.ts';
import { agentTokenFile, operatorTokenFile, readPrivateFile, writePrivateFile } from './private-file.ts';
import { connectionString, writeServing, type Serving } from './serving.ts';
import { upJson, upText, type UpFacts } from './up-text.ts';

const firstName = 'agent';
const operatorName = 'operator';

export const addUpCommand: CommandMaker = (program, deps) => {
  withEverySetting(withJson(program.command('up').description('Start the gateway and the HTTP API; without --upstream also a PostgreSQL with a demo database'), 'print the block as one JSON object'))
    .addHelpText('after', `
Examples:
  backstop up
  backstop up --gateway-port 5499 --data /var/lib/backstop
  backstop up --upstream postgres://user:password@db.internal/app --policy observe --environment staging`)
    .action(async (options: Options) => {
      const config = configOf(options);
      await checkPort(config.gateway, 'The gateway', '--gateway-port');
      await checkPort(config.http, 'The HTTP API', '--http-port');
      const interrupted = deps.interrupted();
      const backstop = await deps.startBackstop(config, createLog({ level: config.logLevel }), { onProgress: (what) => { deps.tell(`backstop: ${what} …`); } });
      deps.onHangup(() => { void backstop.reloadPolicy().catch((error: unknown) => { deps.tell(`backstop: the policy could not be read again: ${String(error)}`); }); });
      try {
        const facts = await settle(backstop, config, deps);
        await deps.print(options['json'] === true ? upJson(facts) : upText(facts));
        const end = await Promise.race([interrupted, backstop.ended]);
        if (end instanceof Failure) throw end;
      } finally {
        deps.tell('backstop: stopping …');
        await backstop.stop();
      }
      deps.tell('backstop: stopped');
    });
};

/** Asked first, so that nobody waits for a database only to be told that a port is taken. */
function checkPort({ host, port }: { readonly host: string; readonly port: number }, who: string, flag: string): Promise<void> {
  if (port === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (cause: NodeJS.ErrnoException) => {
      const [code, what, hint] = cause.code === 'EADDRINUSE'
        ? ['port_in_use', `port ${port} on ${host} is in use`, `Stop what listens there, or choose another port with ${flag} (0 takes any free one).`] as const
        : ['config_invalid', `it cannot listen on ${host}:${port} (${cause.code ?? cause.message})`, `Choose another address or port (${flag}).`] as const;
      reject(new Failure(code, `${who} cannot start: ${what}`, { cause, hint }));
    });
    probe.listen(port, host, () => { probe.close(() => { resolve(); }); });
  });
}

async function settle(backstop: Backstop, config: Config, deps: CliDeps): Promise<UpFacts> {
  const isDemo = config.upstream === undefined;
  const serving: Serving = { host: backstop.gateway.address, gatewayPort: backstop.gateway.port, database: backstop.database };
  writeServing(config.dataDir, serving);
  await ensureOperator(backstop, config);
  const agent = await firstAgent(backstop, config, isDemo);
  return {
    isDemo, database: backstop.database, policyName: backstop.policyName, dataDir: config.dataDir, self: deps.self,
    dataFlag: dataFlagOf(config),
    agent: agent === undefined ? undefined : { name: agent.name, url: connectionString(serving, agent.name, agent.token), isKept: isDemo },
    httpUrl: `http://${shownHost(backstop.http.address)}:${backstop.http.port}`,
    hasOperatorToken: readPrivateFile(config.dataDir, operatorTokenFile) !== undefined,
  };
}

async function ensureOperator({ identities }: Backstop, { dataDir }: Config): Promise<void> {
  if (await identities.hasOperators()) return;
  const added = await unlessTaken(identities.addOperator(operatorName));
  if (added !== undefined) writePrivateFile(dataDir, operatorTokenFile, added.token);
}

/**
 * Of an agent only a verifier is stored. For the demo its token is also kept in a file, so that every start can print a
 * line that works; in front of a real server it is printed once, when it is made.
 */
async function firstAgent({ identities, database }: Backstop, { dataDir }: Config, isDemo: boolean): Promise<{ readonly name: string; readonly token: string } | undefined> {
  const kept = isDemo ? readPrivateFile(dataDir, agentTokenFile(firstName)) : undefined;
  if (kept !== undefined) return { name: firstName, token: kept };
  if ((await identities.listAgents()).length > 0) return undefined;
  const added = await unlessTaken(identities.addAgent(firstName, database, operatorName));
  if (added === undefined) return undefined;
  const { agent, token } = added;
  if (isDemo) writePrivateFile(dataDir, agentTokenFile(firstName), token);
  return { name: agent.name, token };
}

/** Another node of the same store may start at the same moment. */
async function unlessTaken<T>(adding: Promise<T>): Promise<T | undefined> {
  try {
    return await adding;
  } catch (error) {
    if (error instanceof Failure && error.code === 'conflict') return undefined;
    throw error;
  }
}

function shownHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
