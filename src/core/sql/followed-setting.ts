/**
 * `SELECT set_config('search_path', …, …)` as a statement of its own is what `SET search_path` is: many programs send it
 * so. Only in exactly this shape can the session follow it, because it runs once and when it is seen to run; anywhere
 * else (a subquery, a body, a cursor) the call stays guarded. The new path counts as unknown until the server was asked.
 */
import { namesIn, nodesIn, treeIn, type Tree } from './tree.ts';
import type { Statement } from './statement.ts';

const selectFields: ReadonlySet<string> = new Set(['targetList', 'limitOption', 'op']);
const callFields: ReadonlySet<string> = new Set(['funcname', 'args', 'funcformat', 'location']);
const plainArguments: ReadonlySet<string> = new Set(['A_Const', 'ParamRef']);

export function withFollowedSetting(statement: Statement, tree: Tree): Statement {
  const [call, ...others] = statement.mentions.functions;
  if (statement.node !== 'SelectStmt' || call === undefined || others.length > 0 || !isBareCall(tree)) return statement;
  if (call.constants[0]?.toLowerCase() !== 'search_path') return statement;
  return {
    ...statement, mentions: { ...statement.mentions, functions: [{ ...call, isFollowed: true }] },
    changes: [...statement.changes, { kind: 'search-path', path: null }],
  };
}

function isBareCall(select: Tree): boolean {
  if (!Object.keys(select).every((field) => selectFields.has(field))) return false;
  if (select['op'] !== 'SETOP_NONE' || select['limitOption'] !== 'LIMIT_OPTION_DEFAULT') return false;
  const [target, ...others] = nodesIn(select, 'targetList');
  const value = target === undefined || others.length > 0 ? undefined : treeIn(target.tree, 'val');
  const call = value === undefined ? undefined : treeIn(value, 'FuncCall');
  if (call === undefined || !Object.keys(call).every((field) => callFields.has(field))) return false;
  const args = nodesIn(call, 'args');
  return namesIn(call, 'funcname').at(-1) === 'set_config' && args.length === 3 && args.every(({ type }) => plainArguments.has(type));
}
