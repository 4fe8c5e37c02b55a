/**
 * Log: one JSON object a line, through pino. No credential and no SQL literal reaches a line: values under names that
 * carry them are masked at any depth, passwords inside URLs are cut out, and an error that a database sent is reduced to
 * its code, because its message quotes data. SQL is logged only as a fingerprint or in its redacted form.
 */
import { pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** The same log, with these fields on every line. */
  child(fields: LogFields): Log;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Where lines go; standard error unless told. */
  readonly destination?: { write(line: string): void };
}

const masked = '[masked]';
const depthMax = 6;
const itemsMax = 50;
const textMax = 2_000;

/** Names whose values are credentials or carry the literals of a statement, compared in lower case without `_` and `-`. */
const maskedNames: ReadonlySet<string> = new Set([
  'password', 'passwd', 'pass', 'pwd', 'pgpassword', 'token', 'accesstoken', 'secret', 'secrets', 'credential', 'credentials',
  'authorization', 'cookie', 'key', 'privatekey', 'apikey', 'verifier', 'salt', 'connectionstring', 'dsn', 'databaseurl',
  'sql', 'query', 'statement', 'text', 'values', 'value', 'binds', 'parameters', 'params', 'rows', 'row', 'body',
]);

export function createLog(options: LogOptions): Log {
  const destination = options.destination ?? pino.destination({ fd: 2, sync: true });
  const base = pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return wrap(base);
}

function wrap(target: pino.Logger): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: LogFields, message: string): void => {
    if (target.isLevelEnabled(level)) target[level](clean(fields), cleanText(message));
  };
  return {
    debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'),
    child: (fields) => wrap(target.child(clean(fields))),
  };
}

function clean(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, cleanMember(name, value, 0)]));
}

function cleanMember(name: string, value: unknown, depth: number): unknown {
  // A count under such a name (rows: 3) tells nothing of the data.
  if (isMaskedName(name) && typeof value !== 'number' && typeof value !== 'boolean' && value !== null) return masked;
  return cleanValue(value, depth);
}

function isMaskedName(name: string): boolean {
  return maskedNames.has(name.toLowerCase().replaceAll(/[_-]/g, ''));
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cleanText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (depth >= depthMax) return '[deeper]';
  if (Array.isArray(value)) return value.slice(0, itemsMax).map((item) => cleanValue(item, depth + 1));
  return cleanObject(value, depth);
}

function cleanObject(value: object, depth: number): unknown {
  if ('toJSON' in value && typeof value.toJSON === 'function') return cleanValue(value.toJSON(), depth + 1);
  const members = Object.entries(value).slice(0, itemsMax);
  return Object.fromEntries(members.map(([name, item]) => [name, cleanMember(name, item, depth + 1)]));
}

function cleanError(error: Error, depth: number): unknown {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const frames = (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at ')).map((line) => line.trim());
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    ...('severity' in error ? {} : { message: cleanText(error.message) }),
    frames: frames.slice(0, 12),
    ...(error.cause instanceof Error && depth < depthMax ? { cause: cleanError(error.cause, depth + 1) } : {}),
  };
}

/** `scheme://user:password@host` keeps its shape without the password; a keyword string loses `password=…`. */
function cleanText(text: string): string {
  // Cut before matching, so that matching is bounded; the word at the cut goes too, as it may be half a credential.
  const bounded = text.length <= textMax ? text : text.slice(0, textMax).toWellFormed().replace(/\S*$/, '…');
  return bounded
    .replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):\S*@/gi, `$1:${masked}@`)
    .replaceAll(/\b(password|token|secret)\s*=\s*('(?:[^'\\]|\\.)*(?:'|$)|[^\s&'"]+)/gi, `$1=${masked}`);
}
