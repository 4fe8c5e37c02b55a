/**
 * Names that a server in another encoding than UTF-8 reads otherwise than they were judged: in a single-byte one it turns
 * unquoted letters beyond ASCII to lower case too, so that CAFÉ is café, and it cuts long names at other places. Quoted and
 * short they mean what they say; any other is refused.
 */
import { Failure } from '../../core/failure.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';

/** NAMEDATALEN: names are shorter than this. */
const nameBytesEnd = 64;
const beyondAscii = /[^\x00-\x7f]/;

/** Throws Failure. */
export function refuseForeignNames(sql: string, serverEncoding: string): void {
  if (serverEncoding === 'UTF8' || !beyondAscii.test(sql)) return;
  const isForeign = tokensOf(sql).some(({ kind, text }) => beyondAscii.test(text) && (kind === 'word' || (kind === 'quoted-name' && Buffer.byteLength(text) >= nameBytesEnd)));
  if (!isForeign) return;
  throw new Failure('feature_not_supported', `Backstop cannot tell what a name with letters beyond ASCII means in a database whose encoding is ${serverEncoding}.`, {
    hint: 'Write such names in double quotes, as they are stored, with at most 60 bytes.',
  });
}
