/**
 * Seal: what is done to bytes before they are stored, and how they are read again. They are compressed by zstd, and
 * encrypted by age where recipients are given: the gateway then holds public keys only, so that whoever takes it over can
 * write recovery points and read none. Each sealed piece can be opened by itself with the tools `zstd` and `age`, and no two
 * are ever the same: random bytes at its end make each an object of its own, so that what one recovery point needs is never
 * removed with another one, nor found "there already" by a put while a purge is about to remove it.
 */
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress } from 'node:zlib';
import { Failure } from '../../core/failure.ts';
import type { Ending } from './bucket.ts';

export interface Seal {
  readonly ending: Ending;
  /** Once it resolves, nothing of `plain` is in use any more. */
  close(plain: Buffer): Promise<Buffer>;
}

export interface Opener {
  /** Throws Failure `recovery_point_broken`, or `not_permitted` where the key is missing or another one. */
  open(sealed: Buffer, ending: Ending): Promise<Buffer>;
}

/** Fast: what waits for it is a transaction that holds locks. */
const compressionLevel = 1;
/** Begins a skippable frame of zstd, whose content no decompressor shows (RFC 8878, 3.1.2); it comes last because Node stops at one. */
const skippableFrameMagic = 0x184d2a5b;
const uniqueBytes = 16;
/** Each such piece of a result costs a turn of the event loop, which is busy with what comes next. */
const pieceBytesMax = 1024 * 1024;
const pieceBytesMin = 16 * 1024;
/** What is smaller is compressed at once: handing it to another thread and back would take longer. */
const atOnceBytesMax = 64 * 1024;
const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** `recipients`: `age1…` each. Throws Failure `config_invalid`. */
export async function createSeal(recipients: readonly string[]): Promise<Seal> {
  const pack = async (plain: Buffer): Promise<Buffer> => {
    const options = { chunkSize: pieceBytes(plain.length), params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } };
    return Buffer.concat([plain.length <= atOnceBytesMax ? zstdCompressSync(plain, options) : await compress(plain, options), uniqueFrame()]);
  };
  if (recipients.length === 0) return { ending: '.zst', close: pack };
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  addKeys(recipients, (recipient) => { encrypter.addRecipient(recipient); }, 'a recipient of recovery points is no age public key', 'age1…');
  return { ending: '.zst.age', close: async (plain) => Buffer.from(await encrypter.encrypt(await pack(plain))) };
}

function pieceBytes(bytes: number): number { return Math.max(pieceBytesMin, Math.min(pieceBytesMax, bytes)); }

function uniqueFrame(): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(skippableFrameMagic, 0);
  head.writeUInt32LE(uniqueBytes, 4);
  return Buffer.concat([head, randomBytes(uniqueBytes)]);
}

/** `identities`: `AGE-SECRET-KEY-1…` each; empty where nothing is encrypted. Throws Failure `config_invalid`. */
export async function createOpener(identities: readonly string[]): Promise<Opener> {
  const decrypt = identities.length === 0 ? undefined : await decrypter(identities);
  return {
    open: async (sealed, ending) => {
      if (ending === '.zst.age' && decrypt === undefined) throw new Failure('not_permitted', 'this recovery point is encrypted', { hint: 'Give the file with the age identity that opens it.' });
      const packed = ending === '.zst.age' ? await decrypt?.(sealed) ?? sealed : sealed;
      return decompress(packed, { chunkSize: pieceBytes(packed.length) }).catch((cause: unknown) => { throw new Failure('recovery_point_broken', 'a stored object cannot be decompressed', { cause }); });
    },
  };
}

async function decrypter(identities: readonly string[]): Promise<(sealed: Buffer) => Promise<Buffer>> {
  const { Decrypter } = await import('age-encryption');
  const decrypting = new Decrypter();
  addKeys(identities, (identity) => { decrypting.addIdentity(identity); }, 'that is no age identity', 'AGE-SECRET-KEY-1…');
  return async (sealed) => {
    try {
      return Buffer.from(await decrypting.decrypt(sealed));
    } catch (cause) {
      throw new Failure('not_permitted', 'this recovery point is encrypted for somebody else, or was changed', { cause });
    }
  };
}

/** The key that is refused is in no message: it may be a secret in the wrong place. */
function addKeys(keys: readonly string[], add: (key: string) => void, message: string, form: string): void {
  for (const key of keys) {
    try {
      add(key);
    } catch (cause) {
      throw new Failure('config_invalid', message, { hint: `It looks like ${form}; \`age-keygen\` makes one.`, cause });
    }
  }
}
