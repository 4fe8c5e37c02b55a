/**
 * What stands between Backstop and a real S3 server and fails as storage does: it takes what is put and says that it did not,
 * cuts what is sent, changes a byte on the way back, denies, is full, is slow, or never answers.
 */
import { createServer, request, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** Undefined: nothing fails. A number of times where it says so, else every time. */
export type StorageFault =
  | { readonly kind: 'answer lost'; times: number } | { readonly kind: 'cut upload' } | { readonly kind: 'cut download' } | { readonly kind: 'changed byte' }
  | { readonly kind: 'denied' } | { readonly kind: 'full' } | { readonly kind: 'slow'; readonly ms: number } | { readonly kind: 'silent' };

export interface FaultyProxy {
  readonly endpoint: string;
  fault: StorageFault | undefined;
  /** Requests that came while there was a fault. */
  met: number;
  stop(): Promise<void>;
}

export async function startFaultyProxy(to: string): Promise<FaultyProxy> {
  const target = new URL(to);
  const server = createServer((asked, answer) => { void pass(asked, answer).catch(() => { asked.socket.destroy(); }); });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const address = server.address();
  const proxy: FaultyProxy = {
    endpoint: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`, fault: undefined, met: 0,
    stop: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => { resolve(); });
    }),
  };
  return proxy;

  async function pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { fault } = proxy;
    if (fault !== undefined) proxy.met += 1;
    const isPut = asked.method === 'PUT';
    const body = await bytesOf(asked);
    if (fault?.kind === 'silent') return;
    if (fault?.kind === 'denied') return say(answer, 403, 'AccessDenied');
    if (fault?.kind === 'full' && isPut) return say(answer, 507, 'XMinioStorageFull');
    if (fault?.kind === 'slow') await pause(fault.ms);
    if (fault?.kind === 'cut upload' && isPut) {
      await cut(asked, body.subarray(0, body.length / 2));
      asked.socket.destroy();
      return;
    }
    const { head, bytes } = await forward(asked, body);
    if (fault?.kind === 'answer lost' && isPut && fault.times > 0) {
      fault.times -= 1;
      return say(answer, 500, 'InternalError');
    }
    const isObject = asked.method === 'GET' && head.statusCode === 200 && bytes.length > 0;
    if (fault?.kind === 'changed byte' && isObject) bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    answer.writeHead(head.statusCode ?? 500, head.headers);
    if (fault?.kind === 'cut download' && isObject) {
      answer.write(bytes.subarray(0, bytes.length / 2), () => { asked.socket.destroy(); });
      return;
    }
    answer.end(bytes);
  }

  function onward(asked: IncomingMessage): ClientRequest {
    return request({ host: target.hostname, port: target.port, method: asked.method, path: asked.url, headers: asked.headers });
  }

  function forward(asked: IncomingMessage, body: Buffer): Promise<{ readonly head: IncomingMessage; readonly bytes: Buffer }> {
    return new Promise((resolve, reject) => {
      const passed = onward(asked).once('error', reject).once('response', (head) => {
        bytesOf(head).then((bytes) => { resolve({ head, bytes }); }, reject);
      });
      passed.end(body);
    });
  }

  /** The connection ends in the middle of what was announced. */
  function cut(asked: IncomingMessage, body: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const passed = onward(asked).on('error', () => undefined).once('close', () => { resolve(); });
      passed.write(body, () => { passed.destroy(); });
    });
  }
}

function say(answer: ServerResponse, status: number, code: string): void {
  answer.writeHead(status, { 'content-type': 'application/xml' });
  answer.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`);
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts);
}
