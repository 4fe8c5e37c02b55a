/**
 * An undo as a person reads it before and after: which actions, what becomes of the rows of each table, which rows were
 * edited since and how, and what to type next. Values are the database's own and are shown to the operator alone.
 */
import type { RowConflict, TableChange, UndonePoint, UndoPolicy, UndoReport } from '../../core/recovery/undo-plan.ts';
import { columns, printable } from './columns.ts';

/** How the same command is called again, without what says how to go on. */
export interface UndoCall { readonly self: string; readonly again: string; /** That the same data is found with: ` --data DIR`, or nothing. */ readonly flags: string; readonly policy: UndoPolicy }

const pointsShownMax = 20;
const conflictsShownMax = 20;
const madeShownMax = 30;
const statementCharactersMax = 100;
const keyCharactersMax = 60;

export function undoText(report: UndoReport, call: UndoCall): string {
  const { points, applied } = report;
  const actions = points.reduce((sum, { actionIds }) => sum + actionIds.length, 0);
  const what = `${counted(actions, 'action')} in database ${report.database}`;
  return [
    `${applied === undefined ? 'To undo' : 'Undone'}: ${printable(what)}\n\n`, pointsText(points), '\n', madeText(points), tablesText(points, call.policy), conflictsText(points, call.policy), nextText(report, call),
  ].join('');
}

function pointsText(points: readonly UndonePoint[]): string {
  const rows = points.slice(0, pointsShownMax).flatMap(({ actionIds, agent, createdAt, texts }) => actionIds.map((id, index) =>
    [`  ${id}`, agent, createdAt.slice(0, 19).replace('T', ' '), shortened(texts[index] ?? '')]));
  const together = points.some(({ actionIds }) => actionIds.length > 1) ? '  What was sent in one batch is undone together.\n' : '';
  return `${columns(rows)}${points.length > pointsShownMax ? `  and ${points.length - pointsShownMax} more\n` : ''}${together}`;
}

function shortened(statement: string): string {
  return statement.length <= statementCharactersMax ? statement : `${statement.slice(0, statementCharactersMax)}…`;
}

/** Over all actions together; a column that is zero everywhere says nothing. */
function tablesText(points: readonly UndonePoint[], policy: UndoPolicy): string {
  const sums = new Map<string, TableChange>();
  for (const change of points.flatMap(({ changes }) => changes)) {
    const known = sums.get(change.table);
    sums.set(change.table, known === undefined ? change : addChanges(known, change));
  }
  const shown = headings(policy).filter(({ of }) => [...sums.values()].some((change) => of(change) > 0));
  if (shown.length === 0) return points.some(({ made }) => made.length > 0) ? '' : '  No row is to be changed.\n';
  return columns([['  TABLE', ...shown.map(({ heading }) => heading)], ...[...sums.values()].map((change) => [`  ${change.table}`, ...shown.map(({ heading, of }) => cell(of(change), heading.length))])]);
}

function madeText(points: readonly UndonePoint[]): string {
  const made = points.flatMap((point) => point.made);
  if (made.length === 0) return '';
  const more = made.length > madeShownMax ? `  and ${made.length - madeShownMax} more\n` : '';
  return `  Made again, or changed back:\n${made.slice(0, madeShownMax).map((what) => `    ${printable(what)}\n`).join('')}${more}\n`;
}

function addChanges(a: TableChange, b: TableChange): TableChange {
  return {
    table: a.table, insert: a.insert + b.insert, delete: a.delete + b.delete, 'put-back': a['put-back'] + b['put-back'], merge: a.merge + b.merge, done: a.done + b.done,
    conflict: a.conflict + b.conflict, blocked: a.blocked + b.blocked,
  };
}

function headings({ merges, onConflict }: UndoPolicy): readonly { readonly heading: string; readonly of: (change: TableChange) => number }[] {
  const forced = onConflict === 'force';
  return [
    { heading: 'COME BACK', of: (change) => change.insert },
    { heading: 'PUT BACK', of: (change) => change['put-back'] },
    { heading: 'GO', of: (change) => change.delete },
    { heading: merges ? 'MERGED' : forced ? 'OVERWRITTEN' : 'EDITED ELSEWHERE', of: (change) => change.merge },
    { heading: forced ? 'FORCED' : 'IN CONFLICT', of: (change) => change.conflict },
    { heading: 'KEPT BY A KEY', of: (change) => change.blocked },
    { heading: 'AS BEFORE ALREADY', of: (change) => change.done },
  ];
}

function cell(rows: number, width: number): string { return (rows === 0 ? '-' : String(rows)).padStart(width); }

function conflictsText(points: readonly UndonePoint[], { onConflict }: UndoPolicy): string {
  const conflicts = points.flatMap((point) => point.conflicts);
  if (conflicts.length === 0) return '';
  const intro = onConflict === 'force' ? 'Edited since, and made as before all the same:' : 'Not as the action left them, and left as they are now:';
  const more = conflicts.length > conflictsShownMax ? '  and more; --json tells them\n' : '';
  return `\n${intro}\n\n${conflicts.slice(0, conflictsShownMax).map(conflictText).join('')}${more}`;
}

function conflictText({ table, key, why, columns: names, before, after, now }: RowConflict): string {
  const shownKey = key.length <= keyCharactersMax ? key : `${key.slice(0, keyCharactersMax)}…`;
  const differing = names.map((name, index) => [name, before?.[index], after?.[index], now?.[index]] as const).filter(([, ...values]) => new Set(values).size > 1);
  const rows = differing.map(([name, ...values]) => [`      ${name}`, ...values.map(valueText)]);
  return `  ${printable(`${[table, shownKey].filter((part) => part !== '').join(' ')}: ${why}`)}\n${rows.length === 0 ? '' : columns([['      COLUMN', 'BEFORE', 'AFTER THE ACTION', 'NOW'], ...rows], 32)}`;
}

/** undefined: there is no such row. */
function valueText(value: string | null | undefined): string { return value === undefined ? '-' : value ?? 'NULL'; }

function nextText({ applied, rowsLeft, points }: UndoReport, { self, again, flags, policy }: UndoCall): string {
  if (applied !== undefined) {
    const left = rowsLeft === 0 ? '' : ` ${counted(rowsLeft, 'row')} ${rowsLeft === 1 ? 'was' : 'were'} left as ${rowsLeft === 1 ? 'it is' : 'they are'}.`;
    return applied.recoveryPointId === null
      ? `\n${points.some(({ made }) => made.length > 0) ? 'It was compared with what was kept, and is as before. To take that back, run the statement again.' : 'Nothing had to be changed: every row was as before.'}${left}\n`
      : `\nEvery row was compared with what was kept of it, and is as before.${left} This undo can be undone itself:\n  ${self} undo ${applied.actionId}${flags}\n`;
  }
  if (rowsLeft === 0) return `\nNothing was changed. To do it:\n  ${again} --yes\n`;
  return `\nNothing was changed. ${counted(rowsLeft, 'row')} cannot be undone without a choice:\n${columns([
    ['  --on-conflict skip', 'leaves them as they are now'],
    ...(policy.merges ? [] : [['  --merge', 'puts back what the action had changed, and keeps edits in other columns']]),
    ...(policy.onConflict === 'force' ? [] : [['  --on-conflict force', 'makes them as before, whatever was done since']]),
  ])}\nFor example:\n  ${again} --on-conflict skip --yes\n`;
}

function counted(count: number, noun: string): string { return `${count} ${noun}${count === 1 ? '' : 's'}`; }
