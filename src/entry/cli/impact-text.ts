/**
 * The measured preview as an approver reads it: the numbers first, then what foreign keys and triggers add, who waits for
 * whom, and a few of the rows. Rows of label and text, for columns().
 */
import { cascadedRows, countOf, rowCountText, shareText, type Impact, type LockImpact, type LossImpact, type MeasuredImpact, type ObjectList, type Sample, type TriggerImpact } from '../../core/impact.ts';
import { columns } from './columns.ts';

const valueCharsShown = 40;

/** Beside the other facts of an approval; nothing for what is not measured. */
export function impactRows(impact: Impact): readonly (readonly [label: string, text: string])[] {
  switch (impact.kind) {
    case 'none': return [];
    case 'unknown': return [['Impact', `NOT KNOWN: ${impact.reason}`]];
    case 'measured': return [...labelled('Impact', [rowsText(impact), ...cascadeTexts(impact)]), ...labelled('Triggers', triggerTexts(impact.triggers)), ...labelled('Locks', lockTexts(impact.lock, impact.table))];
    case 'bounded': return [['Impact', `at most ${countOf(impact.rowsMax)} of ${impact.table}`]];
    case 'loss': return lossRows(impact);
  }
}

/** Up to five of the rows; values as they are in the table now. */
export function sampleText(impact: Impact): string {
  const sample = impact.kind === 'measured' ? impact.sample : null;
  if (sample === null || sample.rows.length === 0) return '';
  return `\n  Some of the rows, as they are now:\n${indented(columns(sampleRows(sample)))}`;
}

/** For a list: rows, or why there is no number. */
export function impactCell(impact: Impact): string {
  switch (impact.kind) {
    case 'none': return '';
    case 'unknown': return 'unknown';
    case 'measured': return cascadedRows(impact) === 0 ? String(impact.rows) : `${impact.rows}+${cascadedRows(impact)}`;
    case 'bounded': return `<=${impact.rowsMax}`;
    case 'loss': return impact.rows === null ? 'unknown' : `${impact.rows.isExact ? '' : '~'}${impact.rows.count}`;
  }
}

function labelled(label: string, texts: readonly string[]): readonly (readonly [string, string])[] {
  return texts.map((text, index) => [index === 0 ? label : '', text] as const);
}

function rowsText(impact: MeasuredImpact): string {
  const { table, rows, actions } = impact;
  const share = shareText(impact);
  const parts = actions === undefined ? '' : `: ${actions.update} updated, ${actions.delete} deleted, ${actions.insert} inserted`;
  return `${countOf(rows)} of ${table}${share === '' ? '' : ` (${share})`}${parts}`;
}

function cascadeTexts({ cascades }: MeasuredImpact): readonly string[] {
  return cascades.map(({ table, rows, how, isExact }) => `and ${isExact ? '' : 'up to '}${countOf(rows)} of ${table}, ${how}`);
}

/** What is lost, by name: tables with their rows first, then everything that goes with it. */
function lossRows(impact: LossImpact): readonly (readonly [string, string])[] {
  const { verb, named, also, refusedBy, tables, tableCount, rows, bytes, triggers, lock } = impact;
  const [drops, more] = verb === 'drop' ? ['drops', 'Also drops'] : ['empties', 'Also empties'];
  const names = named.count === 0 ? [`${drops} nothing that is there`] : listed(named).map((name) => `${drops} ${name}`);
  const total = tableCount === 0 ? [] : [`${rowCountText(rows)} of ${tableCount === 1 ? '1 table' : `${tableCount} tables`} would be lost (${sizeText(bytes)})`];
  const each = tables.map((one) => `${rowCountText(one.rows)} of ${one.table} (${sizeText(one.bytes)})`);
  return [
    ...labelled('Impact', [...names, ...total]), ...labelled('Rows lost', [...each, ...moreText(tableCount - each.length)]), ...labelled(more, listed(also)),
    ...labelled('REFUSED BY', listed(refusedBy)), ...labelled('Triggers', triggerTexts(triggers)), ...labelled('Locks', lockTexts(lock, tableCount > 1 ? 'each of them' : tables[0]?.table ?? 'it')),
  ];
}

function listed({ names, count }: ObjectList): readonly string[] { return [...names, ...moreText(count - names.length)]; }

function moreText(count: number): readonly string[] { return count > 0 ? [`and ${count} more`] : []; }

const units = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;

export function sizeText(bytes: number): string {
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${Math.round(bytes / 1024 ** power)} ${units[power] ?? 'bytes'}`;
}

const firing: Readonly<Record<TriggerImpact['fires'], string>> = {
  origin: 'fires', always: 'fires (always, for replicated changes too)', replica: 'fires only where session_replication_role is replica,',
};

function triggerTexts(triggers: readonly TriggerImpact[]): readonly string[] {
  return triggers.map(({ table, name, when, function: fn, fires }) => `${name} of ${table} ${firing[fires]} ${when}, and runs ${fn}; what it changes is not counted`);
}

function lockTexts(lock: LockImpact | null, table: string): readonly string[] {
  if (lock === null) return [];
  return [`${lock.mode} on ${table}${lock.mode === 'ACCESS EXCLUSIVE' ? '' : ', and its rows'} until the transaction ends${waitText(lock)}`];
}

function waitText({ heldBy, writers, waiting }: LockImpact): string {
  const parts = [
    heldBy === 0 ? '' : `would wait for ${sessions(heldBy)} holding a lock on the table`,
    writers === 0 ? '' : `may wait for ${sessions(writers)} that changed rows of it`,
    waiting === 0 ? '' : `${sessions(waiting)} ${waiting === 1 ? 'waits' : 'wait'} for a lock on it already`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? '; nobody is in its way' : `; ${parts.join('; ')}`;
}

function sessions(count: number): string { return count === 1 ? '1 session' : `${count} sessions`; }

function sampleRows({ columns: names, rows }: Sample): readonly (readonly string[])[] {
  return [names, ...rows.map((row) => row.map((value) => (value === null ? 'NULL' : shortened(value))))];
}

function shortened(value: string): string {
  const characters = [...value];
  return characters.length <= valueCharsShown ? value : `${characters.slice(0, valueCharsShown - 1).join('')}…`;
}

function indented(text: string): string { return text.replaceAll(/^(?=.)/gm, '    '); }
