import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';
import { openAead, sealAead } from '@cardea/crypto/keys/aead';
import { openFernet, sealFernet } from '@cardea/crypto/keys/fernet';
import { isOf } from '@cardea/crypto/keys/key-algorithms';
import { holdsPrivate } from '@cardea/crypto/keys/key-material';
import { formatMade, parseMade } from '@cardea/crypto/keys/made-text';
import { oaepBytesMax, openOaep, sealOaep } from '@cardea/crypto/keys/rsa-oaep';
import { publicOnly } from '../usable-key.ts';
import { cannot } from './algorithm-refusal.ts';
import type { KeyInUse } from './key-in-use.ts';

/** What a key encrypts. */
export interface Plain {
  plaintext: Uint8Array;
  associatedData: Uint8Array;
  /** Of a key that derives others: which of them encrypts. */
  context?: Uint8Array | undefined;
  /** The version that encrypts; the newest if it is undefined. */
  keyVersion?: number | undefined;
  /** The time in a Fernet token, in seconds since 1970. */
  atSeconds: number;
}

/** What a key has encrypted, and a caller wants to have opened. */
export interface Sealed {
  ciphertext: string;
  associatedData: Uint8Array;
  /** Of a key that derives others: which of them decrypts. */
  context?: Uint8Array | undefined;
  /** The most age of a Fernet token. */
  ttlSeconds?: number | undefined;
}

/** A ciphertext that was opened. */
export interface Opened {
  /** In memory of its own. The caller overwrites it. */
  plaintext: Uint8Array;
  keyVersion: number;
  /** When a Fernet token was made, in seconds since 1970. */
  madeAtSeconds?: number;
}

/** Encrypts. @throws AppError `conflict` if the key cannot, `too_large`; as `KeyInUse.maker` */
export async function sealWith(
  key: KeyInUse,
  { plaintext, associatedData, context, keyVersion, atSeconds }: Plain,
): Promise<{ ciphertext: string; keyVersion: number }> {
  const { algorithm } = key;
  requireEncryption(key, associatedData);
  const { version, material } = await key.maker(keyVersion, context);
  if (isOf('fernet', algorithm)) {
    return { ciphertext: sealFernet(material.key, plaintext, { nowSeconds: atSeconds }), keyVersion: version };
  }
  const made = (bytes: Uint8Array) => ({ ciphertext: formatMade({ version, bytes }), keyVersion: version });
  if (isOf('aead', algorithm)) return made(sealAead({ algorithm, key: material.key }, plaintext, associatedData));
  const publicKey = material.publicKey!;
  const bytesMax = oaepBytesMax(publicKey);
  if (plaintext.length > bytesMax) {
    const message = `a key of ${algorithm} encrypts at most ${bytesMax} bytes: encrypt a data key with it`;
    throw new AppError('too_large', message, { rule: 'key-algorithm' });
  }
  return made(await key.run(() => sealOaep(publicKey, plaintext, associatedData)));
}

/**
 * Decrypts. Whatever is wrong with a ciphertext, the refusal has the same code and the same message, and the same work
 * was done for it: only the record has its rule.
 * @throws AppError `invalid_request`; `conflict` if no key of the algorithm could
 */
export async function openWith(key: KeyInUse, sealed: Sealed, nowSeconds: number): Promise<Opened> {
  requireEncryption(key, sealed.associatedData);
  if (isOf('fernet', key.algorithm)) return openToken(key, sealed, nowSeconds);
  if (sealed.ttlSeconds !== undefined) throw cannot(key.algorithm, 'makes ciphertexts without a time');
  const made = parseMade(sealed.ciphertext);
  const { version, material, refusal } = await key.reader(made?.version, sealed.context);
  if (!holdsPrivate(material)) throw publicOnly();
  const plaintext = await openBytes(key, material, made?.bytes ?? new Uint8Array(0), sealed.associatedData);
  if (plaintext && made && refusal === undefined) return { plaintext, keyVersion: version };
  plaintext?.fill(0);
  throw notAuthentic(made ? (refusal ?? 'not-authentic') : 'not-authentic');
}

async function openBytes(
  key: KeyInUse,
  material: Awaited<ReturnType<KeyInUse['reader']>>['material'],
  bytes: Uint8Array,
  associatedData: Uint8Array,
): Promise<Uint8Array | undefined> {
  const { algorithm } = key;
  if (isOf('aead', algorithm)) return openAead({ algorithm, key: material.key }, bytes, associatedData);
  return key.run(() => openOaep(material.key, bytes, associatedData));
}

// A token does not name its version, so each is tried (as MultiFernet does).
async function openToken(
  key: KeyInUse,
  { ciphertext, context, ttlSeconds }: Sealed,
  nowSeconds: number,
): Promise<Opened> {
  for (const { version, material } of await key.readers(context)) {
    const opened = openFernet(material.key, ciphertext, { nowSeconds, ttlSeconds });
    if (opened) return { ...opened, keyVersion: version };
  }
  throw notAuthentic('not-authentic');
}

function requireEncryption({ algorithm }: KeyInUse, associatedData: Uint8Array): void {
  if (isOf('fernet', algorithm)) {
    if (associatedData.length > 0) throw cannot(algorithm, 'takes no associated data');
  } else if (!isOf('aead', algorithm) && !isOf('rsa', algorithm)) {
    throw cannot(algorithm, 'cannot encrypt or decrypt');
  }
}

/** The one refusal of a ciphertext. Only the record has its rule. */
export function notAuthentic(rule: AuditRule): AppError {
  const message = 'this key did not make the ciphertext with this associated data, or may not open it';
  return new AppError('invalid_request', message, { rule });
}
