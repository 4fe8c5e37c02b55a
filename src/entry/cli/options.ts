/**
 * Options that several commands share. Those that configure the program are made from its table of settings, so that a
 * flag, a variable and a key of the file can never drift apart.
 */
import type { Command } from 'commander';
import type { Memory } from '../../app/memory.ts';
import { loadConfig, type Config, type ConfigFlags } from '../../config.ts';
import { settings, type Setting } from '../../config-settings.ts';
import { Failure } from '../../core/failure.ts';
import type { CliDeps } from './command.ts';

/** As commander gives them. */
export type Options = Readonly<Record<string, unknown>>;

export function withEverySetting(command: Command): Command {
  for (const setting of Object.values<Setting>(settings)) {
    if (setting.flag !== undefined) command.option(`--${setting.flag} <${setting.takes}>`, setting.what);
  }
  return withConfigFile(command);
}

/** For commands that only need to find what is kept. */
export function withStore(command: Command): Command {
  for (const { flag, takes, what } of [settings.data, settings.store]) command.option(`--${flag} <${takes}>`, what);
  return withConfigFile(command);
}

/** For commands that read recovery points too. */
export function withRecovery(command: Command): Command {
  for (const name of ['recovery.storage', 'recovery.region', 'recovery.identities'] as const) command.option(`--${settings[name].flag} <${settings[name].takes}>`, settings[name].what);
  return withStore(command);
}

/** For commands that reach the guarded server and the storage of recovery points as `up` does. */
export function withServerAndStorage(command: Command): Command {
  const { data, store, upstream, policy } = settings;
  for (const { flag, takes, what } of [data, store, upstream, policy, settings['recovery.storage'], settings['recovery.region'], settings['recovery.recipients'], settings['recovery.identities']]) {
    command.option(`--${flag} <${takes}>`, what);
  }
  return withConfigFile(command);
}

export function withJson(command: Command, what = 'print JSON'): Command {
  return command.option('--json', what);
}

function withConfigFile(command: Command): Command {
  return command.option('--config <file>', 'configuration file (default backstop.yaml, when there is one)');
}

export function configOf(options: Options): Config {
  const known = ['config', ...Object.values<Setting>(settings).flatMap(({ flag }) => (flag === undefined ? [] : [camelCase(flag)]))];
  const flags: ConfigFlags = Object.fromEntries(known.flatMap((name) => {
    const value = options[name];
    return typeof value === 'string' ? [[name, value]] : [];
  }));
  return loadConfig({ flags });
}

/** What other commands need to find the same data from here: ` --data DIR`, or nothing. Of a store elsewhere the address is theirs to give: it holds a password. */
export function dataFlagOf({ dataDir, store }: Config): string {
  const missing = configOf({});
  const storeFlag = store.kind === missing.store.kind ? '' : ' --store "$BACKSTOP_STORE"';
  return `${missing.dataDir === dataDir ? '' : ` --data ${dataDir}`}${storeFlag}`;
}

/** Opens the store for as long as `work` takes. Throws Failure `not_found` when there is none. */
export async function withMemory<T>(deps: CliDeps, options: Options, work: (memory: Memory, config: Config) => Promise<T>): Promise<T> {
  const config = configOf(options);
  const memory = await deps.openMemory(config.store, { isThere: true });
  try {
    return await work(memory, config);
  } finally {
    await memory.close();
  }
}

/** A whole number of at least `least`. Throws Failure `usage`. */
export function wholeNumber(text: string, flag: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new Failure('usage', `${flag} takes a whole number from ${least} to ${most}`);
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
