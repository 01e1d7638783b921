import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { randomOctets } from '../ids.ts';
import { openOaep, sealOaep } from './rsa-oaep.ts';

/** The most bytes of a wrapped key: an RSA key of 4096 bits, or one of ML-DSA, under an RSA key of 8192 bits is shorter. */
export const WRAPPED_KEY_BYTES_MAX = 8_192;

// RFC 5649 section 3: the alternative initial value. OpenSSL adds the length.
const KWP_VALUE = Buffer.from('a65959a6', 'hex');
const AES_KEY_BYTES = 32;
const BLOCK_BYTES = 8;
const NO_LABEL = new Uint8Array(0);

/**
 * Wraps a key for the holder of an RSA key, as the mechanism CKM_RSA_AES_KEY_WRAP of PKCS #11 does: a new AES-256 key by
 * RSAES-OAEP with SHA-256 and no label, followed by the key under it by AES-KWP (RFC 5649).
 */
export async function wrapKey(publicKey: KeyObject, key: Uint8Array): Promise<Uint8Array> {
  const aesKey = randomOctets(AES_KEY_BYTES);
  try {
    return Buffer.concat([await sealOaep(publicKey, aesKey, NO_LABEL), sealKwp(aesKey, key)]);
  } finally {
    aesKey.fill(0);
  }
}

/** Unwraps what `wrapKey` returned, into new memory. Undefined if it was not made for this key. */
export async function unwrapKey(privateKey: KeyObject, wrapped: Uint8Array): Promise<Uint8Array | undefined> {
  const modulusBytes = privateKey.asymmetricKeyDetails!.modulusLength! / 8;
  if (wrapped.length > WRAPPED_KEY_BYTES_MAX) return undefined;
  const aesKey = await openOaep(privateKey, wrapped.subarray(0, modulusBytes), NO_LABEL);
  if (!aesKey) return undefined;
  try {
    return aesKey.length === AES_KEY_BYTES ? openKwp(aesKey, wrapped.subarray(modulusBytes)) : undefined;
  } finally {
    aesKey.fill(0);
  }
}

/** Wraps a key by AES-KWP (RFC 5649) under an AES key of 128, 192 or 256 bits. */
export function sealKwp(aesKey: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv(kwpOf(aesKey), aesKey, KWP_VALUE);
  return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** Unwraps what `sealKwp` returned, into new memory. Undefined if it is not authentic. */
export function openKwp(aesKey: Uint8Array, wrapped: Uint8Array): Uint8Array | undefined {
  // Section 4.2: a whole number of blocks, two at least.
  if (wrapped.length < 2 * BLOCK_BYTES || wrapped.length % BLOCK_BYTES !== 0) return undefined;
  const decipher = createDecipheriv(kwpOf(aesKey), aesKey, KWP_VALUE);
  let first: Buffer;
  try {
    first = decipher.update(wrapped);
  } catch {
    // OpenSSL checks the whole here, and names no reason.
    return undefined;
  }
  const key = Uint8Array.from(Buffer.concat([first, decipher.final()]));
  first.fill(0);
  return key;
}

function kwpOf(aesKey: Uint8Array): string {
  return `id-aes${aesKey.length * 8}-wrap-pad`;
}
