/**
 * The table of settings: for each its key in the YAML file, its environment variable, its flag, what it takes and what
 * it is for. config.ts reads by it, the command line makes its options from it, so the three ways cannot drift apart.
 */
import { z } from 'zod';

export interface Setting {
  readonly env: string;
  /** Without the leading hyphens; none for a credential that would show in a list of processes. */
  readonly flag?: string;
  /** What the flag takes, as `--help` shows it. */
  readonly takes: string;
  readonly what: string;
  readonly schema: z.ZodType<string | number>;
}

export const prefix = 'BACKSTOP_';

const port = z.int().min(0).max(65_535);
const count = z.int().min(1).max(1_000_000);
const words = z.string().min(1).max(4_096);
const secretText = z.string().min(1).max(8_192);
/** Its parts are read where the link is made. The message never quotes the value, which holds a password. */
const connectionString = secretText.refine(
  (text) => /^postgres(ql)?:\/\/.|^\s*[a-z_]+\s*=/i.test(text),
  'must be a connection string such as postgres://user:password@host:5432/database, or host=… user=… dbname=…',
);

const days = z.int().min(1).max(3_650);
const recipients = z.string().regex(/^\s*age1[0-9a-z]+(?:[\s,]+age1[0-9a-z]+)*\s*$/, 'must be age public keys (age1…), separated by commas');

/** As pg reads it: a URL. */
const storeUrl = secretText.refine((text) => /^postgres(ql)?:\/\/./i.test(text), 'must be a connection string such as postgres://user:password@host:5432/database');

export const settings = {
  'gateway.host': { env: 'BACKSTOP_GATEWAY_HOST', flag: 'gateway-host', takes: 'host', what: 'address on which agents connect (default 127.0.0.1)', schema: words },
  'gateway.port': { env: 'BACKSTOP_GATEWAY_PORT', flag: 'gateway-port', takes: 'port', what: 'port on which agents connect (default 6432)', schema: port },
  'gateway.tls': { env: 'BACKSTOP_GATEWAY_TLS', flag: 'gateway-tls', takes: 'on|off', what: 'offer TLS to agents (default on)', schema: z.enum(['on', 'off']) },
  'gateway.tls_cert': { env: 'BACKSTOP_GATEWAY_TLS_CERT', flag: 'gateway-tls-cert', takes: 'file', what: 'certificate, PEM (default: one made on first run)', schema: words },
  'gateway.tls_key': { env: 'BACKSTOP_GATEWAY_TLS_KEY', flag: 'gateway-tls-key', takes: 'file', what: 'its private key, PEM', schema: words },
  'gateway.tls_client_ca': { env: 'BACKSTOP_GATEWAY_TLS_CLIENT_CA', flag: 'gateway-tls-client-ca', takes: 'file', what: 'authorities whose certificates log agents in, PEM', schema: words },
  'gateway.tls_client_crl': { env: 'BACKSTOP_GATEWAY_TLS_CLIENT_CRL', flag: 'gateway-tls-client-crl', takes: 'file', what: 'their revocation lists, PEM', schema: words },
  'gateway.max_connections': { env: 'BACKSTOP_GATEWAY_MAX_CONNECTIONS', flag: 'gateway-max-connections', takes: 'count', what: 'of all agents together (default 500)', schema: count },
  'gateway.max_agent_connections': { env: 'BACKSTOP_GATEWAY_MAX_AGENT_CONNECTIONS', flag: 'gateway-max-agent-connections', takes: 'count', what: 'of one agent, unless it has its own limit (default 200)', schema: count },
  'gateway.max_names': { env: 'BACKSTOP_GATEWAY_MAX_NAMES', flag: 'gateway-max-names', takes: 'count', what: 'prepared statements of one session, and cursors (default 10000)', schema: count },
  'gateway.login_timeout': { env: 'BACKSTOP_GATEWAY_LOGIN_TIMEOUT', flag: 'gateway-login-timeout', takes: 'seconds', what: 'from connecting to being authenticated (default 10)', schema: z.int().min(1).max(600) },
  'gateway.first_statement_timeout': { env: 'BACKSTOP_GATEWAY_FIRST_STATEMENT_TIMEOUT', flag: 'gateway-first-statement-timeout', takes: 'seconds', what: 'until a session says something; 0 is for ever (default 0)', schema: z.int().min(0).max(86_400) },
  'gateway.stall_timeout': { env: 'BACKSTOP_GATEWAY_STALL_TIMEOUT', flag: 'gateway-stall-timeout', takes: 'seconds', what: 'for a message half sent or answers left unread (default 120)', schema: z.int().min(1).max(86_400) },
  'http.host': { env: 'BACKSTOP_HTTP_HOST', flag: 'http-host', takes: 'host', what: 'address of the HTTP API (default 127.0.0.1)', schema: words },
  'http.port': { env: 'BACKSTOP_HTTP_PORT', flag: 'http-port', takes: 'port', what: 'port of the HTTP API (default 6433)', schema: port },
  data: { env: 'BACKSTOP_DATA', flag: 'data', takes: 'dir', what: 'folder for everything that is kept (default .backstop)', schema: words },
  store: { env: 'BACKSTOP_STORE', flag: 'store', takes: 'url', what: 'PostgreSQL database for the record, approvals and agents, for several Backstops to share (default: a file in the data folder)', schema: storeUrl },
  upstream: { env: 'BACKSTOP_UPSTREAM', flag: 'upstream', takes: 'url', what: 'PostgreSQL server to guard, as a URL or keyword=value (default: the embedded one with a demo database)', schema: connectionString },
  policy: { env: 'BACKSTOP_POLICY', flag: 'policy', takes: 'name|file', what: 'observe, develop, protect, strict, read-only or a file (default protect)', schema: words },
  environment: { env: 'BACKSTOP_ENVIRONMENT', flag: 'environment', takes: 'name', what: 'dev, staging or production, for policies (default dev for the embedded server, production with --upstream)', schema: z.enum(['dev', 'staging', 'production']) },
  workers: { env: 'BACKSTOP_WORKERS', flag: 'workers', takes: 'number', what: 'processes that serve the gateway\'s port together (default 1 in front of the embedded server, else one for each core, four at most)', schema: z.int().min(1).max(16) },
  'approval.wait': { env: 'BACKSTOP_APPROVAL_WAIT', flag: 'approval-wait', takes: 'seconds', what: 'how long a held statement waits on its connection (default: as the policy says)', schema: z.int().min(0).max(3_600) },
  'approval.expires': { env: 'BACKSTOP_APPROVAL_EXPIRES', flag: 'approval-expires', takes: 'seconds', what: 'how long an approval stays valid (default: as the policy says)', schema: z.int().min(1).max(30 * 24 * 3_600) },
  'recovery.storage': { env: 'BACKSTOP_RECOVERY_STORAGE', flag: 'recovery-storage', takes: 'place', what: 'where recovery points are kept: a folder, or s3://bucket/prefix@https://endpoint (default: recovery-points in the data folder)', schema: words },
  'recovery.region': { env: 'BACKSTOP_RECOVERY_REGION', flag: 'recovery-region', takes: 'region', what: 'of the S3 storage (default us-east-1)', schema: words },
  'recovery.recipients': { env: 'BACKSTOP_RECOVERY_RECIPIENTS', flag: 'recovery-recipients', takes: 'keys', what: 'age public keys, separated by commas, that recovery points are encrypted for (default: none are)', schema: recipients },
  'recovery.identities': { env: 'BACKSTOP_RECOVERY_IDENTITIES', flag: 'recovery-identities', takes: 'file', what: 'age identities that open them, for undo and snapshots; serving agents needs none', schema: words },
  'recovery.retention_days': { env: 'BACKSTOP_RECOVERY_RETENTION_DAYS', flag: 'recovery-retention-days', takes: 'days', what: 'how long an action can be undone (default 30)', schema: days },
  'recovery.lock_days': { env: 'BACKSTOP_RECOVERY_LOCK_DAYS', flag: 'recovery-lock-days', takes: 'days', what: 'how long S3 Object Lock lets nobody remove them (default: they are not locked)', schema: days },
  'log.level': { env: 'BACKSTOP_LOG_LEVEL', flag: 'log-level', takes: 'level', what: 'debug, info, warn, error or silent (default info)', schema: z.enum(['debug', 'info', 'warn', 'error', 'silent']) },
  operator_token: { env: 'BACKSTOP_OPERATOR_TOKEN', takes: 'token', what: 'the operator\'s token, for answering approvals', schema: secretText },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;
export type SettingValue<N extends SettingName> = z.infer<(typeof settings)[N]['schema']>;

/** The YAML file: the same keys, nested at their dots, all optional. */
export const fileSchema = z.strictObject({
  gateway: z.strictObject({
    host: settings['gateway.host'].schema.optional(), port: settings['gateway.port'].schema.optional(), tls: settings['gateway.tls'].schema.optional(),
    tls_cert: settings['gateway.tls_cert'].schema.optional(), tls_key: settings['gateway.tls_key'].schema.optional(),
    tls_client_ca: settings['gateway.tls_client_ca'].schema.optional(), tls_client_crl: settings['gateway.tls_client_crl'].schema.optional(),
    max_connections: count.optional(), max_agent_connections: count.optional(), max_names: count.optional(),
    login_timeout: settings['gateway.login_timeout'].schema.optional(), first_statement_timeout: settings['gateway.first_statement_timeout'].schema.optional(),
    stall_timeout: settings['gateway.stall_timeout'].schema.optional(),
  }).optional(),
  http: z.strictObject({ host: settings['http.host'].schema.optional(), port: settings['http.port'].schema.optional() }).optional(),
  data: settings.data.schema.optional(),
  store: settings.store.schema.optional(),
  upstream: settings.upstream.schema.optional(),
  policy: settings.policy.schema.optional(),
  environment: settings.environment.schema.optional(),
  workers: settings.workers.schema.optional(),
  approval: z.strictObject({ wait: settings['approval.wait'].schema.optional(), expires: settings['approval.expires'].schema.optional() }).optional(),
  recovery: z.strictObject({
    storage: settings['recovery.storage'].schema.optional(), region: settings['recovery.region'].schema.optional(), recipients: recipients.optional(),
    identities: settings['recovery.identities'].schema.optional(), retention_days: days.optional(), lock_days: days.optional(),
  }).optional(),
  log: z.strictObject({ level: settings['log.level'].schema.optional() }).optional(),
  operator_token: settings.operator_token.schema.optional(),
});

/** Environment and flags are text; a setting that takes a number gets one, or the text itself to be refused. */
export function fromText(setting: Setting, text: string): string | number {
  return setting.schema.type === 'number' && /^\d{1,15}$/.test(text) ? Number(text) : text;
}
