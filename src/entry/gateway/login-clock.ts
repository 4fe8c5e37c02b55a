/**
 * LoginClock: the time limits before anybody is authenticated. A connection must say something soon, must not draw out its
 * TLS handshake, and must be authenticated in good time; whoever is late is told so where a word can reach it.
 */
import type { Socket } from 'node:net';
import { encodeErrorResponse } from '../../lib/pgwire/backend-encode.ts';
import type { GatewayLimits } from './limits.ts';
import type { LoginPhase } from './login.ts';

export class LoginClock {
  readonly #limits: Pick<GatewayLimits, 'greetingMsMax' | 'loginMsMax'>;
  readonly #socketNow: () => Socket;
  readonly #whole: NodeJS.Timeout;
  #greeting: NodeJS.Timeout | undefined;
  #phase: LoginPhase | undefined;
  #isStopped = false;

  constructor(limits: Pick<GatewayLimits, 'greetingMsMax' | 'loginMsMax'>, socketNow: () => Socket) {
    this.#limits = limits;
    this.#socketNow = socketNow;
    this.#whole = afterReading(limits.loginMsMax, () => { if (!this.#isStopped) this.#expire(); });
  }

  enter(phase: LoginPhase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    clearTimeout(this.#greeting);
    if (phase !== 'login') this.#greeting = afterReading(this.#limits.greetingMsMax, () => { if (!this.#isStopped && this.#phase === phase) this.#socketNow().destroy(); });
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#whole);
    clearTimeout(this.#greeting);
  }

  #expire(): void {
    const socket = this.#socketNow();
    // Before and inside a handshake there is no way to say anything.
    if (this.#phase !== 'login') socket.destroy();
    else {
      socket.end(encodeErrorResponse({ severity: 'FATAL', code: '57014', message: `canceling authentication: it took more than ${this.#limits.loginMsMax} ms`, hint: 'Connect again.' }));
      socket.destroySoon();
    }
  }
}

/** A process that was kept waiting itself reads what has come meanwhile before it says that somebody is late. */
function afterReading(ms: number, work: () => void): NodeJS.Timeout {
  return setTimeout(() => { setImmediate(work); }, ms);
}
