/**
 * `POST /v1/actions/ID/undo`: an operator's undo over HTTP, by the same flow as `backstop undo`. The operator's token comes as
 * `Authorization: Bearer`; `dry=true` only looks. What cannot be done is a problem document with the code of its Failure.
 */
import type { Hono } from 'hono';
import { Failure } from '../../core/failure.ts';
import type { OnConflict, UndoPolicy, UndoReport } from '../../core/recovery/undo-plan.ts';

export interface UndoCall {
  readonly token: string;
  readonly actionId: string;
  /** Nothing is changed. */
  readonly isDry: boolean;
  readonly policy: UndoPolicy;
}

/** Throws Failure. */
export type PerformUndo = (call: UndoCall) => Promise<UndoReport>;

const answers: readonly OnConflict[] = ['refuse', 'skip', 'force'];
const known: ReadonlySet<string> = new Set(['dry', 'on_conflict', 'merge']);

export function addUndoRoute(app: Hono, perform: PerformUndo): void {
  app.post('/v1/actions/:id/undo', async (context) => {
    try {
      return context.json(await perform(callOf(context.req.param('id'), context.req.header('authorization'), context.req.query())));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const { code, httpStatus: status, message, detail, hint } = error;
      return Response.json({ type: 'about:blank', title: code, status, detail: message, code, hint, ...(detail === undefined ? {} : { more: detail }) }, { status, headers: { 'content-type': 'application/problem+json' } });
    }
  });
}

function callOf(actionId: string, authorization: string | undefined, query: Readonly<Record<string, string>>): UndoCall {
  const [, token] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
  if (token === undefined) throw new Failure('not_permitted', 'this needs an operator\'s token, as Authorization: Bearer');
  const unknown = Object.keys(query).find((name) => !known.has(name));
  if (unknown !== undefined) throw new Failure('usage', `there is no parameter ${unknown}`, { hint: 'dry, on_conflict and merge are known.' });
  const onConflict = answers.find((answer) => answer === (query['on_conflict'] ?? 'refuse'));
  if (onConflict === undefined) throw new Failure('usage', 'on_conflict is skip or force');
  return { token, actionId, isDry: flag(query, 'dry'), policy: { onConflict, merges: flag(query, 'merge') } };
}

/** A misspelt value must not make something happen that was only to be looked at. */
function flag(query: Readonly<Record<string, string>>, name: string): boolean {
  const value = query[name] ?? 'false';
  if (value !== 'true' && value !== 'false') throw new Failure('usage', `${name} is true or false`);
  return value === 'true';
}
