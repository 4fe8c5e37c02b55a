/**
 * A message that has no place inside COPY … FROM STDIN. PostgreSQL stops in the middle of such a message and ends the
 * session, because it has lost the place where the next one begins. We may not send the message, which the server would
 * run if an error had ended its COPY meanwhile; so the COPY is failed with a reason that only we know, and the server's
 * answer shows which of the two it was.
 */
import { randomBytes } from 'node:crypto';
import { encodeErrorResponse } from '../../lib/pgwire/backend-encode.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import { encodeCopyFail } from '../../lib/pgwire/frontend-encode.ts';

const reason = `backstop_broken_off_${randomBytes(12).toString('hex')}`;

export const breakCopyOff: Buffer = encodeCopyFail(reason);

/** What the client gets for the server's error: undefined when that is about something else, and the session goes on. */
export function brokenCopyEnd(errorBody: Buffer, messageType: number): Buffer | undefined {
  const fields = decodeDiagnostic(errorBody);
  if (!fields.message.includes(reason)) return undefined;
  const message = `unexpected message type 0x${messageType.toString(16).toUpperCase().padStart(2, '0')} during COPY from stdin`;
  return Buffer.concat([
    encodeErrorResponse({ severity: 'ERROR', code: '08P01', message, ...(fields.where === undefined ? {} : { where: fields.where }) }),
    encodeErrorResponse({ severity: 'FATAL', code: '08P01', message: 'terminating connection because protocol synchronization was lost' }),
  ]);
}
