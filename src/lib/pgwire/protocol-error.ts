/**
 * ProtocolError: what the other side sent is not the PostgreSQL protocol. `isFatal` says that the stream can no longer
 * be framed (a bad length, an unknown type, a broken start-up packet), so the connection must end; otherwise one message
 * was malformed, the frames around it are intact, and the session can go on after an error. Messages never quote content.
 */
export type ProtocolFault =
  /** A length that no message can have. */
  | 'length'
  /** A length above the limit for this type and state. */
  | 'too-large'
  /** A type byte that is unknown here. */
  | 'type'
  /** A body that is not what its type prescribes. */
  | 'malformed'
  /** Text that is not valid UTF-8. */
  | 'not-utf8'
  /** A protocol version that we do not speak. */
  | 'version'
  /** Something legal at another moment. */
  | 'out-of-order';

const fatalFaults: ReadonlySet<ProtocolFault> = new Set(['length', 'too-large', 'type', 'version', 'out-of-order']);

export class ProtocolError extends Error {
  readonly fault: ProtocolFault;
  readonly isFatal: boolean;

  constructor(fault: ProtocolFault, message: string, more: { readonly isFatal?: boolean } = {}) {
    super(message);
    this.name = 'ProtocolError';
    this.fault = fault;
    this.isFatal = more.isFatal ?? fatalFaults.has(fault);
  }
}
