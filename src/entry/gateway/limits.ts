/**
 * The limits of the gateway, by name. Whatever a client can make grow (time, bytes, names, connections) stands here.
 */

/** From accept to the end of authentication. */
export const startupMsMax = 10_000;
export const clientsMaxDefault = 500;
/** One message of an authenticated client; PostgreSQL's own bound is 1 GiB. The parser refuses long texts far earlier. */
export const messageBytesMax = 64 * 1024 * 1024;
/** What a client may have sent ahead while an earlier batch is judged or runs; beyond it the socket is not read. */
export const readAheadBytesMax = 1024 * 1024;
/** Messages up to Sync or Flush that are collected before they are judged. */
export const batchBytesMax = 128 * 1024 * 1024;
export const batchMessagesMax = 200_000;
/** Named prepared statements of one session, and named portals and cursors. */
export const preparedMax = 10_000;
export const portalsMax = 10_000;
/** Statements of one transaction whose fate is followed one by one. */
export const openUnitsMax = 100_000;
export const savepointsMax = 10_000;
/** Watched replies (errors, tags, descriptions) are held in memory when a chunk cuts them. */
export const watchedReplyBytesMax = 16 * 1024 * 1024;
/** Judgements remembered by text, and the longest text that is remembered. */
export const judgementsMax = 4_096;
export const judgedTextLengthMax = 16_384;
/** How long close() waits for statements that run. */
export const drainMsMax = 10_000;
/** A revoked agent's sessions, and those of an older token, end within a second, the check and its answer included. */
export const revocationCheckMs = 400;
/** Refused logins that reach the record; more are only logged. */
export const refusedLoginsPerMinuteMax = 60;
/** How long a server may take to end what its client left behind. */
export const abandonMsMax = 5_000;
