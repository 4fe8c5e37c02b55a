/** Recovery points as people read them: a list, one of them with all that it keeps, and what a check or a purge found. */
import type { KeptRows, Manifest } from '../../core/recovery/manifest.ts';
import type { KnownPoint, PointCheck } from '../../flow/snapshots.ts';
import { columns, printable } from './columns.ts';
import { sizeText } from './impact-text.ts';

const headings = ['POINT', 'TAKEN', 'STATE', 'AGENT', 'DATABASE', 'BACK TO', 'ROWS', 'SIZE', 'ACTION'];
const actionsShown = 1;

export function pointsText(points: readonly KnownPoint[]): string {
  if (points.length === 0) return 'There is none.\n';
  const cells = points.map((point) => [
    point.id, timeText(point.createdAt), point.state ?? '-', point.agent, point.database, point.scope, String(point.rows), sizeText(point.bytes), actionsText(point.actions),
  ]);
  return columns(rightAligned([headings, ...cells], ['ROWS', 'SIZE'].map((heading) => headings.indexOf(heading))));
}

/** Numbers end below each other. */
function rightAligned(rows: readonly (readonly string[])[], at: readonly number[]): readonly (readonly string[])[] {
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) => row.map((cell, column) => (at.includes(column) ? cell.padStart(width(column)) : cell)));
}

function actionsText(actions: readonly string[]): string {
  const more = actions.length - actionsShown;
  return `${actions.slice(0, actionsShown).join(' ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function timeText(at: string): string { return at.slice(0, 19).replace('T', ' '); }

export function pointText(point: KnownPoint, manifest: Manifest): string {
  const { id, agent, database, server, coverage, tables, method, texts, createdAt, verifiedAt, xid, lsn } = manifest;
  const head = columns([
    ['Recovery point', `${id}${point.state === null ? '' : `  ${point.state}`}`],
    ['Taken', `${timeText(createdAt)}, read back at ${timeText(verifiedAt)} UTC`],
    ['Agent', `${agent}, database ${database}`],
    ...manifest.actions.map((action, index) => ['Action', `${action}  ${texts[index] ?? ''}`]),
    ['Back to', coverage.sentence],
    ...coverage.lost.map((lost) => ['Lost', lost]),
    ['Captured by', method],
    ['Server', `PostgreSQL ${server.major}, system ${server.systemId}, timeline ${server.timeline}`],
    ['Transaction', `${xid}, at ${lsn}`],
    ['Manifest', `${point.pack}  line ${point.line.slice(0, 16)}…`],
    ...(manifest.definition === undefined ? [] : [['Definition', 'kept; undo makes the objects again']]),
  ]);
  const kept = tables.flatMap(({ name, before, after, content }) => [...imageRow(name, 'before', before), ...imageRow(name, 'after', after), ...imageRow(name, 'content', content)]);
  return `${head}${kept.length === 0 ? '' : `\n${columns(rightAligned([['TABLE', 'IMAGES', 'ROWS', 'SIZE', 'OBJECTS'], ...kept], [2, 3]))}`}`;
}

function imageRow(name: string, images: string, rows: KeptRows | undefined): readonly (readonly string[])[] {
  if (rows === undefined) return [];
  return [[name, images, String(rows.rows), sizeText(rows.bytes), rows.chunks === undefined ? 'in the manifest' : String(rows.chunks.length)]];
}

export function checkLine({ id, rows, bytes, broken }: PointCheck): string {
  return broken === null ? `${id}  whole: ${rows} rows, ${sizeText(bytes)}\n` : `${id}  BROKEN: ${printable(broken)}\n`;
}
