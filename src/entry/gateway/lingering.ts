/**
 * Lingering: connections that we have ended and the client has not. Each is read on and what comes is dropped, because
 * the end of a connection that nobody reads is never seen and its socket would stay for ever; and a client that neither
 * reads what it was sent nor goes away is cut off after a time.
 */
import type { Socket } from 'node:net';

export class Lingering {
  readonly #sockets = new Set<Socket>();
  readonly #msMax: number;

  constructor(msMax: number) {
    this.#msMax = msMax;
  }

  add(socket: Socket): void {
    if (socket.destroyed) return;
    this.#sockets.add(socket);
    const timer = setTimeout(() => { socket.destroy(); }, this.#msMax);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    socket.resume();
  }

  /** Nothing more is waited for but that each is sent what it was told, and not for long. */
  end(msMax: number): void {
    const timer = setTimeout(() => { for (const socket of this.#sockets) socket.destroy(); }, msMax);
    timer.unref();
    for (const socket of this.#sockets) socket.destroySoon();
  }
}
