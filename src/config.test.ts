/**
 * Configuration comes out whole, frozen and checked, or names the place of the mistake; no credential is ever quoted.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { pathToFileURL } from 'node:url';
import { configFromText, configToText, defaultDataDir, loadConfig } from './config.ts';
import type { ConfigSources } from './config.ts';
import { settings } from './config-settings.ts';
import { Failure } from './core/failure.ts';

const cwd = mkdtempSync(join(tmpdir(), 'config-'));
after(() => { rmSync(cwd, { recursive: true }); });
let files = 0;
function file(text: string): string {
  files += 1;
  const path = join(cwd, `c${files}.yaml`);
  writeFileSync(path, text);
  return path;
}
const load = (sources: ConfigSources) => loadConfig({ env: {}, cwd, ...sources });

function refusal(sources: ConfigSources): string {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof Failure && error.code === 'config_invalid') return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

test('told nothing, it listens on loopback, offers TLS, protects, and guards the embedded server', () => {
  const { dataDir, ...config } = load({});
  assert.deepEqual(config, {
    gateway: { host: '127.0.0.1', port: 6432, tls: 'on', certificate: undefined, clientCertificates: undefined, limits: { connections: undefined, agentConnections: undefined, names: undefined, login: undefined, firstStatement: undefined, stall: undefined } },
    http: { host: '127.0.0.1', port: 6433 },
    store: { kind: 'sqlite', folder: dataDir }, upstream: undefined, policy: 'protect', environment: 'dev', workers: 1, approval: { wait: undefined, expires: undefined }, logLevel: 'info',
    recovery: { storage: join(dataDir, 'recovery-points'), region: undefined, recipients: [], identitiesFile: undefined, retentionDays: 30, lockDays: undefined },
    operatorToken: undefined, configFile: undefined,
  });
  assert.match(dataDir, /\.backstop$/);
});

test('flags come before the environment, the environment before the file, the file before defaults', () => {
  const path = file('gateway: { port: 1, host: 10.0.0.1 }\nhttp: { port: 2 }\npolicy: strict\n');
  const config = load({ flags: { config: path, gatewayPort: '5' }, env: { BACKSTOP_GATEWAY_PORT: '4', BACKSTOP_HTTP_PORT: '3' } });
  assert.deepEqual([config.gateway.port, config.http.port, config.gateway.host, config.policy, config.configFile], [5, 3, '10.0.0.1', 'strict', path]);
});

test('the embedded server is for development, and any other is production unless it is said what it is', () => {
  const upstream = 'postgres://u:p@h/d';
  assert.equal(load({}).environment, 'dev');
  assert.equal(load({ flags: { upstream } }).environment, 'production');
  assert.equal(load({ flags: { upstream, environment: 'staging' } }).environment, 'staging');
  assert.equal(load({ env: { BACKSTOP_ENVIRONMENT: 'production' } }).environment, 'production');
});

test('every setting can be given by its variable, and by its flag where it has one', () => {
  const values: Readonly<Record<keyof typeof settings, string>> = {
    'gateway.host': 'h', 'gateway.port': '0', 'gateway.tls': 'on', 'gateway.tls_cert': 'c.pem', 'gateway.tls_key': 'k.pem', 'gateway.tls_client_ca': 'a.pem', 'gateway.tls_client_crl': 'r.pem',
    'gateway.max_connections': '9', 'gateway.max_agent_connections': '8', 'gateway.max_names': '7', 'gateway.login_timeout': '6', 'gateway.first_statement_timeout': '5', 'gateway.stall_timeout': '4', 'http.host': 'i', 'http.port': '65535',
    data: 'd', store: 'postgres://u:p@h/s', upstream: 'postgresql://u:p@h/d', policy: 'x.yaml', environment: 'staging', workers: '3', 'approval.wait': '0', 'approval.expires': '9',
    'recovery.storage': 'rp', 'recovery.region': 'eu-1', 'recovery.recipients': 'age1a, age1b', 'recovery.identities': 'ids.txt', 'recovery.retention_days': '20', 'recovery.lock_days': '10', 'log.level': 'debug', operator_token: 'tok',
  };
  const pairs = Object.entries(values) as [keyof typeof settings, string][];
  const env = Object.fromEntries(pairs.map(([name, value]) => [settings[name].env, value]));
  const flags = Object.fromEntries(pairs.filter(([name]) => name !== 'operator_token')
    .map(([name, value]) => [name.replaceAll(/[._]([a-z])/g, (_, letter: string) => letter.toUpperCase()), value]));
  const expected = {
    gateway: {
      host: 'h', port: 0, tls: 'on', certificate: { certFile: join(cwd, 'c.pem'), keyFile: join(cwd, 'k.pem') }, clientCertificates: { caFile: join(cwd, 'a.pem'), crlFile: join(cwd, 'r.pem') },
      limits: { connections: 9, agentConnections: 8, names: 7, login: 6, firstStatement: 5, stall: 4 },
    },
    http: { host: 'i', port: 65535 },
    dataDir: join(cwd, 'd'), policy: join(cwd, 'x.yaml'), environment: 'staging', workers: 3, approval: { wait: 0, expires: 9 }, logLevel: 'debug',
    recovery: { storage: join(cwd, 'rp'), region: 'eu-1', recipients: ['age1a', 'age1b'], identitiesFile: join(cwd, 'ids.txt'), retentionDays: 20, lockDays: 10 }, configFile: undefined,
  };
  const { upstream, operatorToken, store, ...fromEnv } = load({ env });
  assert.deepEqual(fromEnv, expected);
  assert.deepEqual([upstream?.reveal(), operatorToken?.reveal(), store.kind === 'postgres' && store.url.reveal()], ['postgresql://u:p@h/d', 'tok', 'postgres://u:p@h/s']);
  const { upstream: _, operatorToken: __, store: ___, ...fromFlags } = load({ flags });
  assert.deepEqual(fromFlags, expected);
});

test('paths in a file start at the file, elsewhere at the current folder', () => {
  const path = file('data: here\npolicy: ./mine.yaml\n');
  const config = loadConfig({ env: {}, cwd: tmpdir(), flags: { config: path } });
  assert.deepEqual([config.dataDir, config.policy], [join(cwd, 'here'), join(cwd, 'mine.yaml')]);
  assert.equal(loadConfig({ env: {}, cwd: tmpdir(), flags: { data: 'there' } }).dataDir, join(tmpdir(), 'there'));
});

test('a place in S3 is no path', () => {
  const path = file('recovery: { storage: "s3://undo/shop@http://127.0.0.1:9000" }\n');
  assert.equal(load({ flags: { config: path } }).recovery.storage, 's3://undo/shop@http://127.0.0.1:9000');
});

test('backstop.yaml in the current folder is read without being named', () => {
  const folder = mkdtempSync(join(cwd, 'with-'));
  writeFileSync(join(folder, 'backstop.yaml'), 'policy: develop\n');
  assert.equal(loadConfig({ env: {}, cwd: folder }).policy, 'develop');
});

test('a checkout keeps its data beside its source, an installed package in the current folder', () => {
  assert.equal(defaultDataDir(pathToFileURL(join(cwd, 'src', 'config.ts')).href, '/elsewhere'), join(cwd, '.backstop'));
  assert.equal(defaultDataDir(pathToFileURL(join(cwd, 'dist', 'config.js')).href, '/elsewhere'), '/elsewhere/.backstop');
});

test('nothing of it can be changed', () => {
  const config = load({});
  assert.throws(() => { (config.gateway as { port: number }).port = 1; }, TypeError);
  assert.throws(() => { (config as { policy: string }).policy = 'observe'; }, TypeError);
});

const password = 'hunter2-77';
const mistakes: readonly (readonly [why: string, sources: ConfigSources | (() => ConfigSources), message: RegExp])[] = [
  ['a port that is no number', { env: { BACKSTOP_GATEWAY_PORT: 'many' } }, /^environment BACKSTOP_GATEWAY_PORT: `gateway\.port` must be a number/],
  ['a port too large', { flags: { httpPort: '65536' } }, /^--http-port: `http\.port` is too large; the most is 65535/],
  ['a negative port', { flags: { gatewayPort: '-1' } }, /^--gateway-port: `gateway\.port` must be a number/],
  ['a revocation list without its authority', { flags: { gatewayTlsClientCrl: 'r.pem' } }, /^--gateway-tls-client-crl: `gateway\.tls_client_crl` needs `gateway\.tls_client_ca`/],
  ['certificates of clients without TLS', { flags: { gatewayTls: 'off', gatewayTlsClientCa: 'a.pem' } }, /^--gateway-tls-client-ca: certificates of clients need TLS/],
  ['a misspelt variable', { env: { BACKSTOP_POLCY: 'strict' } }, /^environment BACKSTOP_POLCY: no such setting; did you mean BACKSTOP_POLICY\?/],
  ['an empty variable', { env: { BACKSTOP_POLICY: '' } }, /^environment BACKSTOP_POLICY: is empty/],
  ['a wrong word', { flags: { gatewayTls: 'offf' } }, /^--gateway-tls: `gateway\.tls` is "offf"; allowed: on, off\. Did you mean off\?/],
  ['a wrong level', { env: { BACKSTOP_LOG_LEVEL: 'trace' } }, /^environment BACKSTOP_LOG_LEVEL: `log\.level` is "trace"; allowed: debug/],
  ['a certificate without key', { flags: { gatewayTlsCert: 'c.pem' } }, /^--gateway-tls-cert: `gateway\.tls_cert` needs `gateway\.tls_key`/],
  ['a file that is not there', { flags: { config: 'none.yaml' } }, /^--config: there is no file .*none\.yaml/],
  ['a file that is a folder', () => ({ flags: { config: cwd } }), /cannot be read \(EISDIR\)/],
  ['an unknown key in the file', () => ({ flags: { config: file('gateway:\n  prot: 1\n') } }), /c\d+\.yaml:2:3: unknown key `gateway\.prot`; allowed: host, port.*Did you mean port\?/],
  ['a wrong value in the file', () => ({ flags: { config: file('http:\n  port: "80"\n') } }), /c\d+\.yaml:2:9: `http\.port` must be a number/],
  ['a recipient that is a secret', { env: { BACKSTOP_RECOVERY_RECIPIENTS: `AGE-SECRET-KEY-${password}` } }, /^environment BACKSTOP_RECOVERY_RECIPIENTS: `recovery\.recipients`: must be age public keys/],
  ['a lock longer than what is kept', { flags: { recoveryLockDays: '31' } }, /^--recovery-lock-days: `recovery\.lock_days` is longer than `recovery\.retention_days` \(30\)/],
  ['an upstream that is no connection string', { env: { BACKSTOP_UPSTREAM: `db ${password}` } }, /^environment BACKSTOP_UPSTREAM: `upstream`: must be a connection string/],
  ['an upstream of another kind', { flags: { upstream: `mysql://u:${password}@h/d` } }, /^--upstream: `upstream`: must be a connection string/],
  ['an upstream in the file that is no URL', () => ({ flags: { config: file(`upstream: ${password}\n`) } }), /c\d+\.yaml:1:11: `upstream`: must be/],
];
for (const [why, sources, message] of mistakes) {
  test(`${why} is refused at its place, and no credential is quoted`, () => {
    const text = refusal(typeof sources === 'function' ? sources() : sources);
    assert.match(text, message);
    assert.ok(!text.includes(password));
  });
}

test('a configuration that is printed shows no credential', () => {
  const config = load({ env: { BACKSTOP_UPSTREAM: `postgres://u:${password}@h/d`, BACKSTOP_OPERATOR_TOKEN: password } });
  assert.ok(!`${JSON.stringify(config)}${inspect(config, { depth: 9 })}`.includes(password));
  assert.equal(config.upstream?.reveal(), `postgres://u:${password}@h/d`);
});

test('a configuration that is handed to a process of ours arrives whole, with its credentials, and frozen', () => {
  for (const flags of [{}, { upstream: 'postgres://u:p@h/d', store: 'postgres://u:p@h/s', policy: 'strict', approvalWait: '3' }]) {
    const config = load({ flags });
    const arrived = configFromText(configToText(config));
    assert.equal(JSON.stringify(arrived), JSON.stringify(config));
    assert.equal(arrived.upstream?.reveal(), config.upstream?.reveal());
    assert.deepEqual(arrived.store.kind === 'postgres' && arrived.store.url.reveal(), config.store.kind === 'postgres' && config.store.url.reveal());
    assert.ok(Object.isFrozen(arrived) && Object.isFrozen(arrived.gateway));
  }
});
