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

const failure: Buffer = encodeCopyFail(reason);

export class BrokenCopy {
  /** The type of the message that broke a COPY off whose error is still to come. */
  #messageType: number | undefined;

  /** What the server gets in the message's place. */
  off(messageType: number): Buffer {
    this.#messageType = messageType;
    return failure;
  }

  /** What the client gets for the server's error: undefined when that is about something else, and the session goes on. */
  endFor(errorBody: Buffer): Buffer | undefined {
    const messageType = this.#messageType;
    this.#messageType = undefined;
    if (messageType === undefined) return undefined;
    const fields = decodeDiagnostic(errorBody);
    if (!fields.message.includes(reason)) return undefined;
    const message = `unexpected message type 0x${messageType.toString(16).toUpperCase().padStart(2, '0')} during COPY from stdin`;
    return Buffer.concat([
      encodeErrorResponse({ severity: 'ERROR', code: '08P01', message, ...(fields.where === undefined ? {} : { where: fields.where }) }),
      encodeErrorResponse({ severity: 'FATAL', code: '08P01', message: 'terminating connection because protocol synchronization was lost' }),
    ]);
  }
}
