/**
 * FrameLimits: the largest length that a message of each type may announce, checked before any of it is buffered.
 * PostgreSQL itself allows 10,000 bytes for messages that only carry names, and a large limit for those that carry
 * text or data (src/include/libpq/libpq.h, PQ_SMALL_MESSAGE_LIMIT). A type without a limit is unknown here.
 */
import { backendType, frontendType } from './message-type.ts';

/** The largest length (the message without its type byte) for a type; 0 for a type that is not allowed here. */
export type FrameLimits = (type: number) => number;

const smallLengthMax = 10_000;
/** PostgreSQL's own bound for one message, 1 GiB - 1. */
const anyLengthMax = 0x3fffffff;

/** A client that is not authenticated yet may send its proof and nothing else. PG_MAX_AUTH_TOKEN_LENGTH is 65,535. */
export const loginLimits: FrameLimits = (type) => (type === frontendType.password ? smallLengthMax : 0);

const largeTypes = [
  frontendType.query, frontendType.parse, frontendType.bind, frontendType.functionCall, frontendType.copyData,
];
const smallTypes = [
  frontendType.execute, frontendType.close, frontendType.describe, frontendType.sync, frontendType.flush,
  frontendType.terminate, frontendType.copyDone, frontendType.copyFail,
];

/** What an authenticated client may send. */
export function sessionLimits(lengthMax: number): FrameLimits {
  const limits = new Uint32Array(256);
  for (const type of smallTypes) limits[type] = smallLengthMax;
  for (const type of largeTypes) limits[type] = lengthMax;
  return (type) => limits[type] ?? 0;
}

/** What a server may send: every known type, up to PostgreSQL's own bound. */
export const serverLimits: FrameLimits = (() => {
  const limits = new Uint32Array(256);
  for (const type of Object.values(backendType)) limits[type] = anyLengthMax;
  return (type: number) => limits[type] ?? 0;
})();
