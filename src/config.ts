/**
 * Config: what one run of the program was told, from defaults, a YAML file, the environment and flags, later ones
 * first. The only reader of process.env. It is checked as a whole before anything starts, frozen, and every mistake
 * names its place: `backstop.yaml:3:9`, `environment BACKSTOP_GATEWAY_PORT` or `--gateway-port`. An unknown key or
 * variable is a mistake too, because a misspelt safety setting must not be ignored.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from './core/failure.ts';
import { describeIssue, parseCheckedYaml } from './lib/checked-yaml.ts';
import { closest } from './lib/closest.ts';
import { deepFreeze } from './lib/deep-freeze.ts';
import type { LogLevel } from './lib/log.ts';
import { Secret } from './lib/secret.ts';
import { systemCode } from './lib/system-error.ts';
import type { StorePlace } from './store/database.ts';
import { fileSchema, fromText, prefix, settings } from './config-settings.ts';
import type { Setting, SettingName, SettingValue } from './config-settings.ts';

export interface Config {
  readonly gateway: {
    readonly host: string;
    /** 0 takes any free port. */
    readonly port: number;
    readonly tls: 'on' | 'off';
    /** Given by the operator; otherwise one is made on first run and kept in the data folder. */
    readonly certificate: { readonly certFile: string; readonly keyFile: string } | undefined;
    /** Authorities whose certificates log agents in, and their revocation lists. */
    readonly clientCertificates: { readonly caFile: string; readonly crlFile: string | undefined } | undefined;
    /** Undefined: as the gateway has it. Times in seconds. */
    readonly limits: {
      readonly connections: number | undefined; readonly agentConnections: number | undefined; readonly names: number | undefined;
      readonly login: number | undefined; readonly firstStatement: number | undefined; readonly stall: number | undefined;
    };
  };
  readonly http: { readonly host: string; readonly port: number };
  /** Absolute. Holds the store unless another is named, the made certificate and the embedded PostgreSQL. */
  readonly dataDir: string;
  readonly store: StorePlace;
  /** Connection string of the server to guard; undefined means the embedded PostgreSQL with the demo database. */
  readonly upstream: Secret | undefined;
  /** Name of a shipped policy, or an absolute path. */
  readonly policy: string;
  /** What the guarded server is to its owners; scopes of policies ask for it. */
  readonly environment: 'dev' | 'staging' | 'production';
  /** Processes that serve the gateway's port together. */
  readonly workers: number;
  /** Seconds, in place of those in the policy file. */
  readonly approval: { readonly wait: number | undefined; readonly expires: number | undefined };
  readonly recovery: RecoveryConfig;
  readonly logLevel: LogLevel;
  readonly operatorToken: Secret | undefined;
  /** The file that was read, absolute. */
  readonly configFile: string | undefined;
}

/** Where recovery points are kept, and for how long. */
export interface RecoveryConfig {
  /** `s3://…`, or an absolute folder. Credentials for S3 come as the AWS tools find them. */
  readonly storage: string;
  readonly region: string | undefined;
  /** `age1…`; none: they are not encrypted. */
  readonly recipients: readonly string[];
  /** Absolute. What opens them. */
  readonly identitiesFile: string | undefined;
  readonly retentionDays: number;
  readonly lockDays: number | undefined;
}

/** Flags as commander gives them: camel case, text, absent when not given. `config` names the YAML file. */
export type ConfigFlags = Readonly<Record<string, string | undefined>>;

export interface ConfigSources {
  readonly flags?: ConfigFlags;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

interface Given {
  readonly value: unknown;
  /** Where it was said, as a mistake names it. */
  readonly place: string;
  /** Relative paths start here. */
  readonly folder: string;
}
type Values = ReadonlyMap<SettingName, Given>;

const fileBytesMax = 1_000_000;
const workersDefaultMax = 4;
const retentionDaysDefault = 30;
const defaultFile = 'backstop.yaml';

/** Throws Failure `config_invalid`. */
export function loadConfig({ flags = {}, env = process.env, cwd = process.cwd() }: ConfigSources = {}): Config {
  refuseUnknownVariables(env);
  const file = findFile(flags, env, cwd);
  const values: Values = new Map([...fromFile(file), ...fromEnvironment(env, cwd), ...fromFlags(flags, cwd)]);
  return deepFreeze(assemble(values, file, cwd));
}

/** For a process of ours, over a channel that nobody else reads: with its credentials. */
export function configToText(config: Config): string {
  return JSON.stringify(config, function replace(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
    const given = this[key];
    return given instanceof Secret ? { [secretKey]: given.reveal() } : value;
  });
}

/** What `configToText` wrote. */
export function configFromText(text: string): Config {
  const revive = (_key: string, value: unknown): unknown =>
    (typeof value === 'object' && value !== null && secretKey in value ? new Secret(String(value[secretKey])) : value);
  return deepFreeze(JSON.parse(text, revive) as Config);
}

const secretKey = '\u0000secret';

function assemble(values: Values, configFile: string | undefined, cwd: string): Config {
  const get = <N extends SettingName>(name: N): SettingValue<N> | undefined => check(name, values);
  const path: PathOf = (name) => absolute(get(name), values.get(name)?.folder ?? cwd);
  const secret = (name: 'upstream' | 'operator_token' | 'store'): Secret | undefined => {
    const value = get(name);
    return value === undefined ? undefined : new Secret(value);
  };
  const policy = get('policy') ?? 'protect';
  const upstream = secret('upstream');
  const dataDir = path('data') ?? defaultDataDir(import.meta.url, cwd);
  const store = secret('store');
  return {
    gateway: {
      host: get('gateway.host') ?? '127.0.0.1', port: get('gateway.port') ?? 6432,
      tls: get('gateway.tls') ?? 'on', certificate: certificate(path, values), clientCertificates: clientCertificates(path, values, get('gateway.tls')),
      limits: {
        connections: get('gateway.max_connections'), agentConnections: get('gateway.max_agent_connections'), names: get('gateway.max_names'),
        login: get('gateway.login_timeout'), firstStatement: get('gateway.first_statement_timeout'), stall: get('gateway.stall_timeout'),
      },
    },
    http: { host: get('http.host') ?? '127.0.0.1', port: get('http.port') ?? 6433 },
    dataDir, store: store === undefined ? { kind: 'sqlite', folder: dataDir } : { kind: 'postgres', url: store },
    upstream,
    policy: /^[a-z][a-z0-9-]*$/.test(policy) ? policy : path('policy') ?? policy,
    // A server that somebody else runs may be anybody's production.
    environment: get('environment') ?? (upstream === undefined ? 'dev' : 'production'),
    workers: get('workers') ?? (upstream === undefined ? 1 : Math.min(availableParallelism(), workersDefaultMax)),
    approval: { wait: get('approval.wait'), expires: get('approval.expires') },
    recovery: recovery(get, path, { dataDir, values }),
    logLevel: get('log.level') ?? 'info',
    operatorToken: secret('operator_token'),
    configFile,
  };
}

type Get = <N extends SettingName>(name: N) => SettingValue<N> | undefined;
type PathOf = (name: 'data' | 'policy' | 'recovery.storage' | 'recovery.identities' | `gateway.tls_${'cert' | 'key' | 'client_ca' | 'client_crl'}`) => string | undefined;

function absolute(path: string | undefined, folder: string): string | undefined {
  return path === undefined ? undefined : resolve(folder, path);
}

/** A checkout keeps its data beside its source, from whatever folder it is called; an installed package in the current folder. */
export function defaultDataDir(moduleUrl: string, cwd: string): string {
  const isCheckout = moduleUrl.endsWith('.ts');
  return resolve(isCheckout ? resolve(dirname(fileURLToPath(moduleUrl)), '..') : cwd, '.backstop');
}

function certificate(path: PathOf, values: Values): Config['gateway']['certificate'] {
  const certFile = path('gateway.tls_cert');
  const keyFile = path('gateway.tls_key');
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile };
  if (certFile === undefined && keyFile === undefined) return undefined;
  const [there, missing] = certFile === undefined ? ['gateway.tls_key', 'gateway.tls_cert'] as const : ['gateway.tls_cert', 'gateway.tls_key'] as const;
  throw mistake(values.get(there)?.place ?? there, `\`${there}\` needs \`${missing}\` beside it`);
}

function clientCertificates(path: PathOf, values: Values, tls: 'on' | 'off' | undefined): Config['gateway']['clientCertificates'] {
  const caFile = path('gateway.tls_client_ca');
  const crlFile = path('gateway.tls_client_crl');
  if (caFile === undefined && crlFile !== undefined) throw mistake(values.get('gateway.tls_client_crl')?.place ?? 'gateway.tls_client_crl', '`gateway.tls_client_crl` needs `gateway.tls_client_ca` beside it');
  if (caFile === undefined) return undefined;
  if (tls === 'off') throw mistake(values.get('gateway.tls_client_ca')?.place ?? 'gateway.tls_client_ca', 'certificates of clients need TLS, which is off');
  return { caFile, crlFile };
}

function recovery(get: Get, path: PathOf, { dataDir, values }: { readonly dataDir: string; readonly values: Values }): RecoveryConfig {
  const storage = get('recovery.storage');
  const retentionDays = get('recovery.retention_days') ?? retentionDaysDefault;
  const lockDays = get('recovery.lock_days');
  if (lockDays !== undefined && lockDays > retentionDays) throw mistake(values.get('recovery.lock_days')?.place ?? 'recovery.lock_days', `\`recovery.lock_days\` is longer than \`recovery.retention_days\` (${retentionDays})`);
  return {
    storage: storage?.startsWith('s3://') === true ? storage : path('recovery.storage') ?? resolve(dataDir, 'recovery-points'),
    region: get('recovery.region'), recipients: get('recovery.recipients')?.trim().split(/[\s,]+/) ?? [], identitiesFile: path('recovery.identities'), retentionDays, lockDays,
  };
}

/** The checked value of one setting; undefined when nobody gave it. */
function check<N extends SettingName>(name: N, values: Values): SettingValue<N> | undefined {
  const given = values.get(name);
  if (given === undefined) return undefined;
  const result = settings[name].schema.safeParse(given.value);
  if (result.success) return result.data as SettingValue<N>;
  const [issue] = result.error.issues;
  throw mistake(given.place, issue === undefined ? `\`${name}\` is not valid` : describeIssue({ ...issue, path: name.split('.') }, given.value));
}

function findFile(flags: ConfigFlags, env: Readonly<Record<string, string | undefined>>, cwd: string): string | undefined {
  const variable = `${prefix}CONFIG`;
  const [named, place] = flags['config'] !== undefined ? [flags['config'], '--config'] : [env[variable], `environment ${variable}`];
  if (named === undefined) return existsSync(resolve(cwd, defaultFile)) ? resolve(cwd, defaultFile) : undefined;
  const path = resolve(cwd, named);
  if (named === '' || !existsSync(path)) throw mistake(place, `there is no file ${named === '' ? 'of that name' : path}`);
  return path;
}

function fromFile(path: string | undefined): [SettingName, Given][] {
  if (path === undefined) return [];
  const checked = parseCheckedYaml(readText(path), fileSchema);
  if (checked.kind === 'invalid') {
    const lines = checked.mistakes.map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`);
    throw new Failure('config_invalid', lines[0] ?? path, lines.length > 1 ? { detail: lines.slice(1).join('\n') } : {});
  }
  return names().flatMap((name): [SettingName, Given][] => {
    const value = name.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], checked.value);
    return value === undefined ? [] : [[name, { value, place: `${path}: \`${name}\``, folder: dirname(path) }]];
  });
}

function readText(path: string): string {
  try {
    if (statSync(path).size > fileBytesMax) throw mistake(path, `larger than ${fileBytesMax} bytes`);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure('config_invalid', `${path}: cannot be read (${systemCode(cause)})`, { cause });
  }
}

function fromEnvironment(env: Readonly<Record<string, string | undefined>>, cwd: string): [SettingName, Given][] {
  return names().flatMap((name): [SettingName, Given][] => {
    const setting: Setting = settings[name];
    const value = env[setting.env];
    return value === undefined ? [] : [[name, textual(setting, value, `environment ${setting.env}`, cwd)]];
  });
}

function fromFlags(flags: ConfigFlags, cwd: string): [SettingName, Given][] {
  return names().flatMap((name): [SettingName, Given][] => {
    const setting: Setting = settings[name];
    if (setting.flag === undefined) return [];
    const value = flags[setting.flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    return value === undefined ? [] : [[name, textual(setting, value, `--${setting.flag}`, cwd)]];
  });
}

function textual(setting: Setting, text: string, place: string, folder: string): Given {
  if (text === '') throw mistake(place, 'is empty; give it a value or leave it away');
  return { value: fromText(setting, text), place, folder };
}

function refuseUnknownVariables(env: Readonly<Record<string, string | undefined>>): void {
  const known = [`${prefix}CONFIG`, ...names().map((name) => settings[name].env)];
  const unknown = Object.keys(env).find((name) => name.startsWith(prefix) && !known.includes(name));
  if (unknown === undefined) return;
  const guess = closest(unknown, known);
  throw mistake(`environment ${unknown}`, `no such setting; ${guess === undefined ? `allowed: ${known.join(', ')}` : `did you mean ${guess}?`}`);
}

function names(): readonly SettingName[] {
  return Object.keys(settings) as SettingName[];
}

function mistake(place: string, what: string): Failure {
  return new Failure('config_invalid', `${place}: ${what}`);
}
