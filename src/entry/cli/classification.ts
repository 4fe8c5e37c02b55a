/**
 * A classification as it is printed: the JSON object that `classify --json` and `--jsonl` give, and the text for people.
 */
import type { Assessment } from '../../core/sql/assess.ts';
import type { Coverage } from '../../core/recovery/coverage.ts';
import type { CaptureMethod } from '../../core/recovery/manifest.ts';
import type { Effect, Level, Reason, Recoverability } from '../../core/risk.ts';
import { columns, printable } from './columns.ts';

export interface Classification {
  readonly level: Level;
  readonly destroys: boolean;
  readonly recoverability: Recoverability;
  readonly reasons: readonly Reason[];
  readonly effects: readonly Effect[];
  readonly assumptions: readonly string[];
  /** How far Backstop could undo it, and by what it would keep for that. */
  readonly undo: Omit<Coverage, 'method'> & { readonly method: CaptureMethod | null };
  /** When there are several statements: each its own. */
  readonly statements?: readonly { readonly kind: string; readonly level: Level; readonly destroys: boolean; readonly recoverability: Recoverability; readonly reasons: readonly string[] }[];
  /** It could not be read; it is CRITICAL then. */
  readonly error?: string;
}

export function classificationOf({ risk, statements, error }: Assessment, coverage: Coverage): Classification {
  const { level, destroys, recoverability, reasons, effects, assumptions } = risk;
  return {
    level, destroys, recoverability, reasons, effects, assumptions, undo: { ...coverage, method: coverage.method ?? null },
    ...(statements.length < 2 ? {} : {
      statements: statements.map(({ statement, risk: own }) => ({
        kind: statement.node, level: own.level, destroys: own.destroys, recoverability: own.recoverability, reasons: own.reasons.map(({ rule }) => rule),
      })),
    }),
    ...(error === undefined ? {} : { error }),
  };
}

/** What was not even a request to classify. */
export function unreadable(error: string): Classification {
  return {
    level: 'CRITICAL', destroys: true, recoverability: 'none', effects: [{ kind: 'unknown' }], assumptions: [], error,
    undo: { scope: 'none', method: null, tables: [], sentence: 'Backstop cannot undo it, because it cannot be read.', lost: [] },
    reasons: [{ rule: 'statement.unreadable', level: 'CRITICAL', message: 'What was given is no statement that could be judged.' }],
  };
}

export function classificationText(found: Classification): string {
  const parts = [
    `${found.level}${found.destroys ? ', would lose data' : ''}\n`,
    ...(found.undo.scope === 'not-needed' ? [] : [[found.undo.sentence, ...found.undo.lost].map((line) => `${printable(line)}\n`).join('')]),
    ...(found.error === undefined ? [] : [`\nIt could not be read: ${printable(found.error)}\n`]),
    section('Why', found.reasons.map(({ level, rule, message }) => [level, rule, message])),
    section('Effects', uniqueRows(found.effects.map(effectCells))),
    section('Statements', (found.statements ?? []).map(({ kind, level, reasons }, index) => [`${index + 1}.`, level, kind, reasons.join(', ')])),
    section('Taken for granted', unique(found.assumptions).map((assumption) => [assumption])),
  ];
  return parts.join('');
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  return `\n${title}\n${columns(rows).split('\n').map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}`;
}

function effectCells({ kind, object, objectKind, via, detail }: Effect): readonly string[] {
  const how = [...(via === undefined || via.length === 0 ? [] : [`through ${via.join(', ')}`]), ...(detail === undefined ? [] : [detail])];
  return [kind, [objectKind, object].filter((part) => part !== undefined).join(' '), how.join('; ')];
}

/** Effects that differ only in their columns read the same here. */
function uniqueRows(rows: readonly (readonly string[])[]): readonly (readonly string[])[] {
  return [...new Map(rows.map((row) => [row.join('\0'), row])).values()];
}

function unique(texts: readonly string[]): readonly string[] { return [...new Set(texts)]; }
