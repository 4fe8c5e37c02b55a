/**
 * Reach of functions whose arguments decide what they do: SQL given as text (H27), a relation, cursor or type by name,
 * a setting (H46). A constant argument is judged as what it names; a computed one could be anything.
 */
import { joinRisks, nothing, type Risk } from '../risk.ts';
import type { FunctionArgument, FunctionRow } from './functions.ts';
import type { FunctionMention } from './mentions.ts';
import { readingSetting } from './observing.ts';
import { reachNested } from './reach-names.ts';
import { danger, deeper, depthMax, joinAll, opaque, through, type Scope } from './reach-scope.ts';
import { anyUnsafeType } from './reach-type.ts';
import { settingRisk as changeOfSetting } from './settings.ts';
import { liftingRisk, noTimeLimits } from './time-limits.ts';

export function argumentRisk(scope: Scope, row: FunctionRow, mention: FunctionMention): Risk {
  const { argument } = row;
  if (argument === undefined) return nothing;
  const own = oneArgumentRisk(scope, row, argument, mention);
  const andAt = argument.kind === 'sql' ? argument.andAt : undefined;
  if (andAt === undefined || mention.constants.length <= andAt) return own;
  return joinRisks(own, oneArgumentRisk(scope, row, { kind: 'sql', at: andAt }, mention));
}

function oneArgumentRisk(scope: Scope, row: FunctionRow, argument: FunctionArgument, mention: FunctionMention): Risk {
  if (argument.kind === 'any-type') return anyUnsafeType(scope) ? anyTypeRisk(mention) : nothing;
  const named = (mention.namedArgs?.length ?? 0) > 0;
  if (argument.kind === 'read-setting') return readingSetting(named || argument.at === 'all' ? null : mention.constants[argument.at] ?? null);
  const constant = named ? null : mention.constants[argument.at] ?? null;
  const via = `${mention.name}(…)`;
  if (argument.kind === 'setting') return settingRisk(scope, mention, constant);
  if (constant === null) return computedRisk(scope, argument.kind, mention);
  if (argument.kind === 'cursor') {
    const body = scope.session.cursors.get(constant);
    return body === undefined ? computedRisk(scope, 'cursor', mention) : through(reachNested(deeper(scope), [body]), via);
  }
  const sql = { sql: constant, relation: `TABLE ${constant}`, type: `SELECT NULL::${constant}` }[argument.kind];
  const statements = scope.depth >= depthMax ? null : scope.read(sql, 'statement');
  if (statements === null) return computedRisk(scope, argument.kind, mention);
  const nested = through(reachNested(deeper(scope), statements), via);
  if (row.level !== 'SAFE') return joinAll([nested, danger(row.level, `function.${row.effect}`, `${mention.name} ${row.note}.`, { kind: row.effect, object: mention.name, objectKind: 'function', detail: row.note })]);
  return argument.kind === 'sql' ? joinAll([nested, { ...nothing, effects: [{ kind: 'call', object: mention.name, objectKind: 'function', detail: row.note }] }]) : nested;
}

function computedRisk(scope: Scope, kind: 'sql' | 'relation' | 'cursor' | 'type', mention: FunctionMention): Risk {
  if (kind === 'type' && scope.catalog.mode === 'live' && !anyUnsafeType(scope)) return nothing;
  const what = { sql: 'SQL', relation: 'a relation', cursor: 'a cursor', type: 'a type' }[kind];
  return opaque('function.text-unreadable', `${mention.name} takes ${what} as text that is computed or cannot be read.`,
    { kind: 'unknown', object: mention.name, objectKind: 'function' });
}

function anyTypeRisk(mention: FunctionMention): Risk {
  return opaque('type.unsafe', `${mention.name} can make a value of a type whose checks or functions are not proved harmless.`,
    { kind: 'unknown', object: mention.name, objectKind: 'function' });
}

/** set_config(name, value, is_local) is SET; what it does to the search_path or the role cannot be followed. */
function settingRisk(scope: Scope, mention: FunctionMention, name: string | null): Risk {
  if (name === null || !/^[a-z_][a-z0-9_.]*$/i.test(name)) {
    return danger('HIGH', 'setting.computed', 'set_config changes a setting whose name is computed.', { kind: 'unknown', objectKind: 'setting' });
  }
  // A computed value is harmless where every value is.
  const value = mention.constants[1] ?? undefined;
  const own = joinRisks(changeOfSetting(name, value, 'set'), liftingRisk(name, value, scope.caller.timeLimits ?? noTimeLimits));
  if (!unfollowed.has(name.toLowerCase()) || (mention.isFollowed === true && name.toLowerCase() === 'search_path')) return own;
  // `unknown` tells the session that it must ask the server where it stands.
  return joinRisks(own, danger('HIGH', 'setting.guarded', `set_config changes ${name}.`, { kind: 'unknown', object: name, objectKind: 'setting' }));
}

const unfollowed: ReadonlySet<string> = new Set(['search_path', 'role', 'session_authorization']);
