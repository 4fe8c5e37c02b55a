/**
 * Which of several servers a connection goes to: one address after the other, in their order or shuffled, until one can be
 * reached and is what `target_session_attrs` asks for. As in libpq, a server that refuses the login ends the search (the
 * next would get the same password), one that is away, starting up or of the wrong kind does not. Throws Failure.
 */
import { lookup } from 'node:dns/promises';
import { Failure } from '../../core/failure.ts';
import { unavailable } from './link-socket.ts';
import type { LinkAddress, LinkTarget, SessionAttributes } from './link-target.ts';
import { ServerError } from './server-error.ts';

export interface HostSearch<T> {
  /** At one address, within its own time. */
  readonly attempt: (address: LinkAddress) => Promise<T>;
  readonly fits: (found: T, wanted: SessionAttributes) => Promise<boolean>;
  readonly drop: (found: T) => void;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Nobody waits any more. */
  readonly isOver: () => boolean;
}

/** Of all names together; a name that stands for more servers is tried in part. */
const attemptsMax = 64;

export async function findHost<T>(target: LinkTarget, search: HostSearch<T>): Promise<T> {
  const passes: readonly SessionAttributes[] = target.sessionAttributes === 'prefer-standby' ? ['standby', 'any'] : [target.sessionAttributes];
  const flaws: Failure[] = [];
  for (const wanted of passes) {
    flaws.length = 0;
    const found = await searchOnce(target, search, wanted, flaws);
    if (found !== undefined) return found;
  }
  throw together(target, flaws);
}

async function searchOnce<T>(target: LinkTarget, search: HostSearch<T>, wanted: SessionAttributes, flaws: Failure[]): Promise<T | undefined> {
  let attempts = 0;
  for (const named of shuffled(target.addresses, target.isBalanced, search.random)) {
    for (const address of shuffled(await resolve(named, flaws), target.isBalanced, search.random)) {
      if ((attempts > 0 && search.isOver()) || (attempts += 1) > attemptsMax) return undefined;
      try {
        const found = await search.attempt(address);
        if (await fitsOrDrop(found, search, wanted)) return found;
        flaws.push(new Failure('upstream_unavailable', `The database server is not ${wanted}, as target_session_attrs asks.`));
      } catch (error) {
        if (!(error instanceof Failure) || !mayAnotherDo(error)) throw error;
        flaws.push(error);
      }
    }
  }
  return undefined;
}

async function fitsOrDrop<T>(found: T, search: HostSearch<T>, wanted: SessionAttributes): Promise<boolean> {
  let fits = false;
  try {
    fits = await search.fits(found, wanted);
  } finally {
    if (!fits) search.drop(found);
  }
  return fits;
}

/** 57P03, cannot_connect_now: it starts up, shuts down or recovers. */
function mayAnotherDo(failure: Failure): boolean {
  if (failure.code !== 'upstream_unavailable') return false;
  return !(failure.cause instanceof ServerError) || failure.cause.code === '57P03';
}

/** Each address of a name is a server that may be away by itself. */
async function resolve(address: LinkAddress, flaws: Failure[]): Promise<readonly LinkAddress[]> {
  if (address.kind === 'socket' || address.ip !== undefined) return [address];
  try {
    const found = await lookup(address.host, { all: true });
    return found.map(({ address: ip }) => ({ ...address, ip }));
  } catch (error) {
    flaws.push(unavailable('The database server cannot be reached', address, error));
    return [];
  }
}

function shuffled<T>(all: readonly T[], isShuffled: boolean, random: () => number): readonly T[] {
  const order = [...all];
  for (let at = order.length - 1; isShuffled && at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
}

/** Addresses are in the causes only, for the log: agents see this message. */
function together(target: LinkTarget, flaws: readonly Failure[]): Failure {
  const [first] = flaws;
  if (first === undefined) return new Failure('upstream_unavailable', 'The database server cannot be reached in the time that was allowed.');
  if (target.addresses.length === 1 && flaws.length === 1) return first;
  const different = [...new Set(flaws.map(({ message }) => message))];
  const message = different.length === 1 && target.addresses.length === 1 ? first.message
    : `None of the database servers can be used: ${different.map((flaw) => flaw.replace(/\.$/, '')).join('; ')}.`;
  return new Failure('upstream_unavailable', message, { hint: first.hint, cause: new AggregateError(flaws, 'every server that was tried') });
}
