/**
 * The start-up parameters that an agent may bring, by allow-list (H63): a setting given at start-up runs before anything
 * is judged, so only those pass that cannot change what a statement means or does. `options` is read by the same list.
 * Pure: returns what to send upstream, or throws Failure.
 */
import { Failure } from '../../core/failure.ts';
import { parseStartupOptions } from '../../lib/pgwire/startup-options.ts';

export interface UpstreamStartup {
  /** null: the client named none, and PostgreSQL takes the user's name. */
  readonly database: string | null;
  readonly user: string;
  /** To be sent upstream; encoding and string syntax are pinned there by the link itself. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Lower-case name → the name as PostgreSQL spells it. */
const allowed: ReadonlyMap<string, string> = new Map([
  ['application_name', 'application_name'], ['datestyle', 'DateStyle'], ['timezone', 'TimeZone'],
  ['intervalstyle', 'IntervalStyle'], ['extra_float_digits', 'extra_float_digits'],
]);
const valueLengthMax = 256;
/** NAMEDATALEN: names are shorter than this. */
const nameBytesEnd = 64;

export function readStartupParameters(given: ReadonlyMap<string, string>): UpstreamStartup {
  const user = given.get('user') ?? '';
  if (user === '') throw new Failure('authentication_failed', 'The start-up message names no user.');
  const parameters = new Map<string, string>();
  for (const [name, value] of given) {
    if (name === 'user' || name === 'database') continue;
    if (name === 'replication') checkReplication(value);
    else if (name === 'options') for (const [option, optionValue] of readOptions(value)) add(parameters, option, optionValue);
    else add(parameters, name, value);
  }
  const database = given.get('database') || null;
  // The server would cut it and open another database than the one that the policy was asked about.
  if (database !== null && Buffer.byteLength(database) >= nameBytesEnd) throw new Failure('too_large', `The name of a database has at most ${nameBytesEnd - 1} bytes.`);
  return { user, database, parameters };
}

function add(parameters: Map<string, string>, name: string, value: string): void {
  const lower = name.toLowerCase();
  if (lower === 'client_encoding') return checkEncoding(value);
  if (lower === 'standard_conforming_strings') return checkOn(value);
  const spelled = allowed.get(lower);
  if (spelled === undefined) {
    throw new Failure('feature_not_supported', `The start-up parameter "${name}" is not accepted by Backstop.`, {
      hint: `Leave it out; accepted are ${[...allowed.values()].join(', ')} and client_encoding=UTF8. What SET may change is judged after connecting.`,
    });
  }
  if (value.length > valueLengthMax) throw new Failure('too_large', `The start-up parameter "${name}" is longer than ${valueLengthMax} characters.`);
  parameters.set(spelled, value);
}

function readOptions(value: string): readonly (readonly [string, string])[] {
  const options = parseStartupOptions(value);
  if (options === undefined) {
    throw new Failure('feature_not_supported', 'The start-up parameter "options" holds more than settings written as -c name=value.', {
      hint: 'Leave "options" out of the connection string.',
    });
  }
  return options;
}

/** PostgreSQL reads the value as a boolean or the word `database`. */
function checkReplication(value: string): void {
  if (['false', 'off', 'no', '0', 'f', 'n'].includes(value.toLowerCase())) return;
  throw new Failure('feature_not_supported', 'Replication connections are refused: their commands could copy the whole cluster unjudged.', {
    hint: 'Connect without the replication parameter.',
  });
}

/** Any spelling that PostgreSQL takes for UTF8; `auto` is libpq's own word for the client's locale and is never sent. */
function checkEncoding(value: string): void {
  if (['utf8', 'unicode'].includes(value.toLowerCase().replace(/[^a-z0-9]/g, ''))) return;
  throw new Failure('feature_not_supported', 'Backstop speaks UTF-8 only: another client_encoding could make a statement mean something else than what was judged.', {
    hint: 'Connect with client_encoding=UTF8 or leave it out.',
  });
}

function checkOn(value: string): void {
  if (['on', 'true', 'yes', '1'].includes(value.toLowerCase())) return;
  throw new Failure('feature_not_supported', 'standard_conforming_strings must stay on: without it a statement could mean something else than what was judged.');
}
