/**
 * The HTTP entry: health, metrics, and the undo of an action for operators. `/livez` says that the process answers, `/readyz` that what it depends on does, each
 * check by name and within its own time, `/healthz` also which policy is in force; errors are problem details (RFC 9457).
 * It decides nothing; without an operator's token it shows no statement, agent or credential.
 */
import { serve, type ServerType } from '@hono/node-server';
import { Hono } from 'hono';
import { Failure } from '../../core/failure.ts';
import type { Log } from '../../lib/log.ts';
import type { Metrics } from './metrics.ts';
import { addUndoRoute, type PerformUndo } from './undo.ts';

/** Rejects when it is not well; the message is for operators. */
export type Check = () => Promise<void>;

export interface HttpDeps {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly checks: Readonly<Record<string, Check>>;
  /** What is lacking where one of these fails leaves it ready for all else. */
  readonly degrading?: Readonly<Record<string, Check>>;
  /** Which policy is in force, and why the file as it is now is not. */
  readonly policy: () => PolicyHealth | Promise<PolicyHealth>;
  readonly undo: PerformUndo;
  readonly metrics: Pick<Metrics, 'contentType' | 'text'>;
  readonly log: Log;
}

export interface PolicyHealth {
  readonly name: string;
  readonly hash: string;
  /** When it came into force; ISO 8601. */
  readonly since: string;
  readonly environment: string;
  readonly refused: { readonly at: string; readonly why: string } | null;
}

export interface HttpEntry {
  /** The port it listens on. Throws Failure `port_in_use`. */
  listen(): Promise<number>;
  close(): Promise<void>;
  /** One request without a socket. */
  fetch(request: Request): Promise<Response>;
}

const checkMsMax = 3_000;

export function createHttp(deps: HttpDeps): HttpEntry {
  const app = routes(deps);
  let server: ServerType | undefined;
  return {
    listen: async () => {
      const started = await listen(app, deps);
      server = started.server;
      return started.port;
    },
    close: () => new Promise((resolve) => {
      if (server === undefined) { resolve(); return; }
      server.close(() => { resolve(); });
      if ('closeAllConnections' in server) server.closeAllConnections();
    }),
    fetch: (request) => Promise.resolve(app.fetch(request)),
  };
}

function routes({ checks, degrading = {}, metrics, policy, undo, log }: HttpDeps): Hono {
  const app = new Hono();
  app.get('/livez', (context) => context.json({ status: 'ok' }));
  app.get('/readyz', async (context) => {
    const { isReady, isWhole, results } = await runAll(checks, degrading);
    return context.json({ status: statusOf(isReady, isWhole), checks: results }, isReady ? 200 : 503);
  });
  // An older policy protects as it did, so a refused file degrades and does not take the gateway out of service.
  app.get('/healthz', async (context) => {
    const { isReady, isWhole, results } = await runAll(checks, degrading);
    const now = await policy();
    return context.json({ status: statusOf(isReady, isWhole && now.refused === null), checks: results, policy: now }, isReady ? 200 : 503);
  });
  app.get('/metrics', async (context) => context.text(await metrics.text(), 200, { 'content-type': metrics.contentType }));
  addUndoRoute(app, undo);
  app.notFound((context) => problem(404, 'Not found', `There is nothing at ${context.req.path}.`));
  app.onError((error) => {
    log.error({ error }, 'an HTTP request failed');
    return problem(500, 'Internal error', 'The request failed because of a fault in Backstop.');
  });
  return app;
}

function statusOf(isReady: boolean, isWhole: boolean): string { return isReady ? (isWhole ? 'ok' : 'degraded') : 'not ready'; }

async function runAll(checks: HttpDeps['checks'], degrading: HttpDeps['checks']): Promise<{ readonly isReady: boolean; readonly isWhole: boolean; readonly results: Readonly<Record<string, string>> }> {
  const [needed, wanted] = await Promise.all([runChecks(checks), runChecks(degrading)]);
  return { isReady: needed.isReady, isWhole: wanted.isReady, results: { ...needed.results, ...wanted.results } };
}

async function runChecks(checks: HttpDeps['checks']): Promise<{ readonly isReady: boolean; readonly results: Readonly<Record<string, string>> }> {
  const results = await Promise.all(Object.entries(checks).map(async ([name, check]) => [name, await runCheck(check)] as const));
  return { isReady: results.every(([, result]) => result === 'ok'), results: Object.fromEntries(results) };
}

async function runCheck(check: Check): Promise<string> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => { reject(new Error(`no answer within ${checkMsMax} ms`)); }, checkMsMax);
  try {
    await Promise.race([check(), late]);
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.message : 'failed';
  } finally {
    clearTimeout(timer);
  }
}

function problem(status: number, title: string, detail: string): Response {
  return Response.json({ type: 'about:blank', status, title, detail }, { status, headers: { 'content-type': 'application/problem+json' } });
}

function listen(app: Hono, { host, port }: HttpDeps): Promise<{ readonly server: ServerType; readonly port: number }> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port }, (address) => { resolve({ server, port: address.port }); });
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(new Failure('port_in_use', `The HTTP API cannot listen on ${host}:${port} (${cause.code ?? cause.message}).`, { hint: 'Stop what listens there, or choose another port with --http-port.', cause }));
    });
  });
}
