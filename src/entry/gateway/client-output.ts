/**
 * ClientOutput: what goes to the client. What came in one chunk goes on in one write: nearly always it is the chunk itself,
 * for which corking costs too much. A client that does not keep up holds the server back.
 */
import type { Socket } from 'node:net';
import type { Link } from '../../remote/postgres/link.ts';

export interface ClientOutputDeps {
  readonly socket: Pick<Socket, 'write' | 'cork' | 'uncork'>;
  readonly link: Pick<Link, 'pause'>;
}

export class ClientOutput {
  readonly #deps: ClientOutputDeps;
  /** While a chunk of the server's is read: what of it goes to the client. */
  #gathered: Buffer[] | undefined;

  constructor(deps: ClientOutputDeps) {
    this.#deps = deps;
  }

  gather(): void { this.#gathered = []; }

  take(bytes: Buffer): void {
    if (this.#gathered === undefined) this.#write(bytes);
    else this.#gathered.push(bytes);
  }

  release(): void {
    const pieces = this.#gathered ?? [];
    this.#gathered = undefined;
    const [first] = pieces;
    if (first === undefined) return;
    if (pieces.length === 1) return this.#write(first);
    const { socket } = this.#deps;
    socket.cork();
    for (const piece of pieces) this.#write(piece);
    socket.uncork();
  }

  #write(bytes: Buffer): void {
    if (!this.#deps.socket.write(bytes)) this.#deps.link.pause();
  }
}
