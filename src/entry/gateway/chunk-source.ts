/**
 * ChunkSource: reads a socket one chunk at a time, only when asked, so that what was not asked for stays in the socket for
 * whoever reads it next (TLS, or the session). Leaves no listener behind.
 */
import type { Socket } from 'node:net';

export class ChunkSource {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** undefined at the end of the stream, however it came. */
  next(): Promise<Buffer | undefined> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      const settle = (chunk: Buffer | undefined): void => {
        socket.off('readable', attempt).off('end', ended).off('close', ended).off('error', ended);
        resolve(chunk);
      };
      const attempt = (): void => {
        const chunk: unknown = socket.read();
        if (Buffer.isBuffer(chunk)) settle(chunk);
        else if (socket.destroyed || socket.readableEnded) settle(undefined);
      };
      const ended = (): void => { settle(undefined); };
      socket.on('readable', attempt).on('end', ended).on('close', ended).on('error', ended);
      attempt();
    });
  }
}
