/**
 * Columns of a Parquet file from values as PostgreSQL prints them: a type that Parquet has too is used where every value has
 * an exact place in it, and anything else is a text as it was printed. Infinite dates, and those outside of the years 1 to
 * 9999, which most readers cannot hold, turn their whole column into text; so does a style of dates that is not ISO.
 */
import type { SchemaElement } from 'hyparquet-writer';

export interface ParquetColumn {
  readonly element: SchemaElement;
  /** undefined: it has no exact place in this column. */
  readonly convert: (text: string) => boolean | number | bigint | string | undefined;
  /** Whether values of its type may be without a place, so that all must be looked at before the column is chosen. */
  readonly isDoubtful: boolean;
  /** A dictionary takes -0 for 0. */
  readonly isPlain?: boolean;
}

type Kind = Omit<ParquetColumn, 'element'> & { readonly element: Omit<SchemaElement, 'name' | 'repetition_type'> };

const text: Kind = { element: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }, convert: (value) => value, isDoubtful: false };
const microseconds = (isAdjustedToUTC: boolean): Kind => ({
  element: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' } }, convert: isAdjustedToUTC ? instant : localTime, isDoubtful: true,
});

/** By the name that `format_type` gives, without a precision. */
const kinds: ReadonlyMap<string, Kind> = new Map([
  ['boolean', { element: { type: 'BOOLEAN' }, convert: (value) => ({ t: true, f: false })[value], isDoubtful: false }],
  ['smallint', { element: { type: 'INT32', converted_type: 'INT_16' }, convert: Number, isDoubtful: false }],
  ['integer', { element: { type: 'INT32' }, convert: Number, isDoubtful: false }],
  ['bigint', { element: { type: 'INT64' }, convert: BigInt, isDoubtful: false }],
  ['real', { element: { type: 'FLOAT' }, convert: Number, isDoubtful: false, isPlain: true }],
  ['double precision', { element: { type: 'DOUBLE' }, convert: Number, isDoubtful: false, isPlain: true }],
  ['date', { element: { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } }, convert: day, isDoubtful: true }],
  ['timestamp without time zone', microseconds(false)],
  ['timestamp with time zone', microseconds(true)],
] satisfies [string, Kind][]);

/** `asText`: whatever its type is. */
export function parquetColumn(name: string, type: string, { asText }: { readonly asText: boolean }): ParquetColumn {
  const kind = asText ? text : kinds.get(type.replace(/\(\d\)/, '')) ?? text;
  return { ...kind, element: { ...kind.element, name, repetition_type: 'OPTIONAL' } };
}

const microsPerSecond = 1_000_000n;
const millisPerDay = 86_400_000;
const dayForm = /^(\d{4})-(\d\d)-(\d\d)$/;
const timeForm = /^(\d{4}-\d\d-\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/;
const zoneForm = /^(.*)([+-])(\d\d)(?::(\d\d)(?::(\d\d))?)?$/;

/** Days since 1970. */
function day(value: string): number | undefined {
  const [, year = '', month = '', date = ''] = dayForm.exec(value) ?? [];
  if (year === '' || year === '0000') return undefined;
  return Date.parse(`${year}-${month}-${date}T00:00:00Z`) / millisPerDay;
}

/** Microseconds since 1970 of a clock without a zone. */
function localTime(value: string): bigint | undefined {
  const [, date = '', hours, minutes, seconds, fraction = ''] = timeForm.exec(value) ?? [];
  const days = day(date);
  if (days === undefined) return undefined;
  return BigInt(days * 86_400 + Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * microsPerSecond + BigInt(fraction.padEnd(6, '0'));
}

/** Microseconds since 1970 in UTC. */
function instant(value: string): bigint | undefined {
  const [, clock = '', sign, hours, minutes = '0', seconds = '0'] = zoneForm.exec(value) ?? [];
  const local = localTime(clock);
  if (local === undefined) return undefined;
  const offset = BigInt(Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * microsPerSecond;
  return sign === '-' ? local + offset : local - offset;
}
