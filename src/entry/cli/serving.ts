/**
 * Where a running Backstop serves: a file of its data folder, so that other commands print connection strings that work.
 * It says where Backstop served last when none is running.
 */
import { z } from 'zod';
import type { Config } from '../../config.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';

const schema = z.object({ host: z.string(), gatewayPort: z.int(), database: z.string() });
export type Serving = Readonly<z.infer<typeof schema>>;

const fileName = 'serving.json';

export function writeServing(dataDir: string, serving: Serving): void {
  writePrivateFile(dataDir, fileName, JSON.stringify(serving));
}

/** From the file, or else as the configuration would have it. */
export function servingOf({ dataDir, gateway }: Config): Serving {
  const text = readPrivateFile(dataDir, fileName);
  const read = text === undefined ? undefined : schema.safeParse(parse(text));
  return read?.success === true ? read.data : { host: gateway.host, gatewayPort: gateway.port, database: 'postgres' };
}

/** `postgres://agent:token@host:port/database`; an address that means "every" is shown as the loopback one. */
export function connectionString({ host, gatewayPort, database }: Serving, agent: string, token: string): string {
  const shown = ['0.0.0.0', '::', ''].includes(host) ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `postgres://${encodeURIComponent(agent)}:${token}@${shown}:${gatewayPort}/${encodeURIComponent(database)}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
