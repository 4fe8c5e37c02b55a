/**
 * Manifest: what one recovery point holds and what it was taken of; one line of canonical JSON in a pack of the bucket, which
 * is enough to undo by, without the store. Small rows stand in it, larger ones in chunks that it names by their digest.
 * What is read back is checked as a stranger's text would be: a manifest of a newer Backstop says so, and one that is
 * broken is never used in part.
 */
import { z } from 'zod';
import { canonicalJson, type CanonicalValue } from '../../lib/canonical-json.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { Failure } from '../failure.ts';
import { recoverabilities, type Recoverability } from '../risk.ts';

export interface Manifest {
  readonly format: typeof manifestFormat;
  /** `rp_…` */
  readonly id: string;
  /** Of one batch, in its order. */
  readonly actions: readonly string[];
  readonly agent: string;
  readonly sessionId: string;
  readonly database: string;
  readonly server: ServerIdentity;
  /** Of the transaction that changed what is kept: `pg_current_xact_id()`, decimal. */
  readonly xid: string;
  /** Where its log was when the images were taken: `16/B374D848`. */
  readonly lsn: string;
  /** ISO 8601, milliseconds, UTC: when the capture began, and when all its rows had been read back. */
  readonly createdAt: string;
  readonly verifiedAt: string;
  readonly method: CaptureMethod;
  readonly coverage: KeptCoverage;
  /** In force when values were printed; values are read by them again. */
  readonly settings: Readonly<Record<string, string>>;
  readonly tables: readonly KeptTable[];
  /** What makes the objects again that fell; read by who restores them. */
  readonly definition?: CanonicalValue;
  /** Of the statements, redacted. */
  readonly texts: readonly string[];
}

/** Which server it was, so that nothing is undone on another one. */
export interface ServerIdentity {
  /** `system_identifier`, decimal: it is larger than a number holds. */
  readonly systemId: string;
  readonly major: number;
  readonly timeline: number;
}

export interface KeptCoverage {
  readonly scope: Recoverability;
  readonly sentence: string;
  readonly lost: readonly string[];
}

export interface KeptTable extends TableShape {
  /** `fingerprintOf` its shape. */
  readonly fingerprint: string;
  /** Of row methods: the rows that the action changed, as they were, and as it left them. */
  readonly before?: KeptRows;
  readonly after?: KeptRows;
  /** Of the method `tables`: all its rows. */
  readonly content?: KeptRows;
}

/** As capture found it. */
export interface TableShape {
  /** Quoted: `app.orders`. */
  readonly name: string;
  /** Quoted, in their order; generated ones are not among them, because they cannot be written. */
  readonly columns: readonly string[];
  /** As `format_type` shows them, one for each column. */
  readonly types: readonly string[];
  /** Quoted columns of the primary key; empty: there is none. */
  readonly key: readonly string[];
  /** Quoted columns whose values the server insists on giving. */
  readonly alwaysIdentity: readonly string[];
  /** Quoted, of every level: a statement may name one of them, and then only its own triggers fire. */
  readonly partitions: readonly string[];
}

/** COPY text of the columns of a table, inline or in chunks, in this order. */
export interface KeptRows {
  readonly rows: number;
  /** Of COPY text. */
  readonly bytes: number;
  /** Of all the COPY text, hex. */
  readonly sha256: string;
  readonly inline?: string;
  readonly chunks?: readonly KeptChunk[];
}

export interface KeptChunk {
  /** Of the object: `objects/ab/abcd….zst`. */
  readonly name: string;
  readonly rows: number;
  /** Of COPY text. */
  readonly bytes: number;
}

/** rows: locked, copied and read again; transitions: gathered by triggers; tables: whole, with their definitions; tombstone: set aside. */
const captureMethods = ['rows', 'transitions', 'tables', 'tombstone'] as const;
export type CaptureMethod = (typeof captureMethods)[number];

const manifestFormat = 1;

/** Throws Bug for what has no canonical form. No newline is in it. */
export function writeManifest(manifest: Manifest): string { return canonicalJson(manifest); }

/** Throws Failure `data_version` for one of a newer Backstop, `recovery_point_broken` for anything else that is no manifest. */
export function readManifest(text: string): Manifest {
  const value = parsed(text);
  const { format } = versionSchema.parse(value);
  if (typeof format === 'number' && Number.isInteger(format) && format > manifestFormat) {
    throw new Failure('data_version', `this recovery point was written by a newer Backstop (format ${format}, this one knows ${manifestFormat})`, { hint: 'Undo with the version that wrote it, or a later one.' });
  }
  const result = manifestSchema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Failure('recovery_point_broken', `the manifest of a recovery point cannot be read (at ${issue?.path.join('.') || 'its top'}: ${issue?.message ?? 'unknown'})`);
}

/** Of what undo relies on: another one means that the table was altered since. */
export function fingerprintOf({ name, columns, types, key, alwaysIdentity, partitions }: TableShape): string {
  return sha256Hex(canonicalJson([name, columns, types, key, alwaysIdentity, partitions]));
}

/** Every object that the manifest needs beside its own pack. */
export function chunksOf({ tables }: Pick<Manifest, 'tables'>): readonly KeptChunk[] {
  return tables.flatMap(({ before, after, content }) => [before, after, content].flatMap((rows) => rows?.chunks ?? []));
}

/** Of all its images together. */
export function sizeOf({ tables }: Pick<Manifest, 'tables'>): { readonly rows: number; readonly bytes: number } {
  let [rows, bytes] = [0, 0];
  for (const { before, after, content } of tables) {
    for (const kept of [before, after, content]) {
      rows += kept?.rows ?? 0;
      bytes += kept?.bytes ?? 0;
    }
  }
  return { rows, bytes };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Failure('recovery_point_broken', 'the manifest of a recovery point is no JSON', { cause });
  }
}

const versionSchema = z.looseObject({ format: z.unknown() }).catch({ format: undefined });
const words = z.array(z.string());
const count = z.int().min(0);
const decimal = z.string().regex(/^\d{1,20}$/);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const moment = z.iso.datetime({ precision: 3 });
const objectName = z.string().regex(/^objects\/([0-9a-f]{2})\/\1[0-9a-f]{62}\.zst(?:\.age)?$/);

const rowsSchema: z.ZodType<KeptRows> = z.strictObject({
  rows: count, bytes: count, sha256: digest, inline: z.string().exactOptional(),
  chunks: z.array(z.strictObject({ name: objectName, rows: count, bytes: count })).exactOptional(),
}).refine(({ rows, bytes, inline, chunks }) => (inline === undefined) !== (chunks === undefined) && (chunks === undefined || isSum(chunks, { rows, bytes })),
  'rows are either inline or in chunks, and these are all of them');

function isSum(chunks: readonly KeptChunk[], { rows, bytes }: Pick<KeptRows, 'rows' | 'bytes'>): boolean {
  return chunks.reduce((sum, chunk) => sum + chunk.rows, 0) === rows && chunks.reduce((sum, chunk) => sum + chunk.bytes, 0) === bytes;
}

const tableSchema: z.ZodType<KeptTable> = z.strictObject({
  name: z.string().min(1), columns: words, types: words, key: words, alwaysIdentity: words, partitions: words, fingerprint: digest,
  before: rowsSchema.exactOptional(), after: rowsSchema.exactOptional(), content: rowsSchema.exactOptional(),
}).refine((table) => fingerprintOf(table) === table.fingerprint, 'a table is not the one that its fingerprint was taken of');

const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  format: z.literal(manifestFormat), id: z.string().regex(/^rp_[0-9a-z]+$/), actions: words.min(1),
  agent: z.string(), sessionId: z.string(), database: z.string(),
  server: z.strictObject({ systemId: decimal, major: z.int().min(1), timeline: z.int().min(1) }),
  xid: decimal, lsn: z.string().regex(/^[0-9A-F]+\/[0-9A-F]+$/), createdAt: moment, verifiedAt: moment,
  method: z.enum(captureMethods), coverage: z.strictObject({ scope: z.enum(recoverabilities), sentence: z.string(), lost: words }),
  settings: z.record(z.string(), z.string()), tables: z.array(tableSchema), definition: z.json().exactOptional(), texts: words,
});
