/**
 * Bulk transfer over one connection: a SELECT of every row, COPY out and COPY in, each timed from the statement to
 * ReadyForQuery. The client does next to nothing with the bytes, so that the relay and the server are what is measured.
 */
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { serverLimits } from '../../src/lib/pgwire/frame-limits.ts';
import { FrameScanner } from '../../src/lib/pgwire/frame-scanner.ts';
import { encodeCopyDone, encodeQuery } from '../../src/lib/pgwire/frontend-encode.ts';
import { backendType } from '../../src/lib/pgwire/message-type.ts';
import type { Address } from './pgbench.ts';

export interface Transfer {
  readonly seconds: number;
  readonly bytes: number;
}

const rowsPerChunk = 600;
/** As long as a row of pgbench_accounts. */
const rowOf = (id: number): string => `${id}\t${id % 10}\t0\t${' '.repeat(84)}\n`;

export const linkTo = ({ host, port, user, password, database }: Address): Promise<Link> =>
  connectLink(parseConnectionString(`postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${database}?sslmode=disable`));

/** Everything that the statement answers, thrown away. */
export function readAll(address: Address, sql: string): Promise<Transfer> {
  return converse(address, sql);
}

/** Copies `rows` rows into the table, which takes (int, int, int, text). */
export function copyIn(address: Address, table: string, rows: number): Promise<Transfer> {
  const text = Buffer.from(Array.from({ length: rowsPerChunk }, (_, id) => rowOf(id)).join(''));
  const chunk = Buffer.concat([Buffer.from('d'), uint32(text.length + 4), text]);
  return converse(address, `COPY ${table} FROM STDIN`, { chunk, times: Math.ceil(rows / rowsPerChunk) });
}

async function converse(address: Address, sql: string, send?: { readonly chunk: Buffer; readonly times: number }): Promise<Transfer> {
  const link = await linkTo(address);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let [bytes, left] = [0, send?.times ?? 0];
    const pump = (): void => {
      if (send === undefined || left === 0) return;
      for (; left > 0; left--) {
        bytes += send.chunk.length;
        if (!link.write(send.chunk)) { left--; break; }
      }
      if (left === 0) link.write(encodeCopyDone());
    };
    const scanner = new FrameScanner({
      limits: serverLimits, watched: [backendType.errorResponse, backendType.copyInResponse, backendType.readyForQuery], watchedBytesMax: 1_000_000,
      write: (part) => { bytes += part.length; },
      onFrame: (type, part, start, end) => {
        if (type === backendType.errorResponse) reject(new Error(`${sql}: ${part.toString('utf8', start, end)}`));
        else if (type === backendType.copyInResponse) pump();
        else resolve();
      },
    });
    link.relay({ onData: (part) => { scanner.push(part); }, onDrain: pump, onClose: (error) => { reject(error ?? new Error('the connection was closed')); } });
    const started = performance.now();
    link.write(encodeQuery(sql));
    await promise;
    return { seconds: (performance.now() - started) / 1000, bytes };
  } finally {
    link.destroy();
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
