/**
 * The limits of the gateway, by name. Whatever a client can make grow (time, bytes, names, connections) stands here.
 */

export interface GatewayLimits {
  /** Authenticated, of all agents together. */
  readonly clientsMax: number;
  /** Of one agent, unless it has a limit of its own. */
  readonly clientsPerAgentMax: number;
  /** Accepted and not yet authenticated: whoever only knocks takes no room from those who are in. */
  readonly loginsMax: number;
  /** From accept to the first byte, and again for the whole TLS handshake. */
  readonly greetingMsMax: number;
  /** From accept to the end of authentication. */
  readonly loginMsMax: number;
  /** From the first ReadyForQuery to the first message; 0: for ever, as pools expect. */
  readonly firstMessageMsMax: number;
  /** How long a message may be half sent, and how long a client may leave what it was sent unread. */
  readonly stallMsMax: number;
  /** Prepared statements of one session, and again its portals and cursors. */
  readonly namesMax: number;
  /** What all sessions of this process may keep of their messages, together. */
  readonly heldBytesMax: number;
}
export const gatewayLimitsDefault: GatewayLimits = {
  clientsMax: 500, clientsPerAgentMax: 200, loginsMax: 200, greetingMsMax: 5_000, loginMsMax: 10_000, firstMessageMsMax: 0, stallMsMax: 120_000, namesMax: 10_000, heldBytesMax: 1024 * 1024 * 1024,
};
/** Stalls and the like are looked for this often; sessions of a revoked agent end within a second, the answer included. */
export const sweepMs = 400;
/** One message of an authenticated client; PostgreSQL's own bound is 1 GiB. The parser refuses long texts far earlier. */
export const messageBytesMax = 64 * 1024 * 1024;
/** What a client may have sent ahead while an earlier batch is judged or runs; beyond it the socket is not read. */
export const readAheadBytesMax = 1024 * 1024;
/** Messages up to Sync or Flush that are collected before they are judged. */
export const batchBytesMax = 128 * 1024 * 1024;
export const batchMessagesMax = 200_000;
/** What the names of one session may hold in memory: bytes of values, and texts, whose trees are larger than they are. */
export const namedBytesMax = 32 * 1024 * 1024;
export const treeBytesPerCharacter = 8;
export const bytesPerName = 400;
/** Statements of one transaction whose fate is followed one by one. */
export const openUnitsMax = 100_000;
export const savepointsMax = 10_000;
/** Watched replies (errors, tags, descriptions) are held in memory when a chunk cuts them. */
export const watchedReplyBytesMax = 16 * 1024 * 1024;
/** Judgements remembered by text, the longest text that is remembered, and the most statements, names, effects and reasons of one. */
export const judgementsMax = 4_096;
export const judgedTextLengthMax = 16_384;
export const judgedNamesMax = 400;
/** Shapes of simple queries whose SAFE judgement is remembered. */
export const shapesMax = 2_048;
/** How long close() waits for statements that run. */
export const drainMsMax = 10_000;
/** Refused logins that reach the record; more are only logged. */
export const refusedLoginsPerMinuteMax = 60;
/** How long a server may take to end what its client left behind. */
export const abandonMsMax = 5_000;
/** A risky statement is sent within this of the comparison of its catalog, or the catalog is compared again. */
export const comparedAgainMs = 20;
