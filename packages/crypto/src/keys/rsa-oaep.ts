import type { KeyObject } from 'node:crypto';

const HASH_BYTES = 32;

/** The longest plaintext in bytes: two hashes and two bytes shorter than the modulus (RFC 8017 section 7.1.1). */
export function oaepBytesMax(publicKey: KeyObject): number {
  return publicKey.asymmetricKeyDetails!.modulusLength! / 8 - 2 * HASH_BYTES - 2;
}

/**
 * Encrypts by RSAES-OAEP (RFC 8017 section 7.1) with SHA-256 for the label and for MGF1, in a thread of its own. The
 * label is authenticated, not stored.
 */
export async function sealOaep(publicKey: KeyObject, plaintext: Uint8Array, label: Uint8Array): Promise<Uint8Array> {
  const key = publicKey.toCryptoKey(OAEP, true, ['encrypt']);
  return new Uint8Array(await crypto.subtle.encrypt({ name: OAEP.name, label: owned(label) }, key, owned(plaintext)));
}

/** Decrypts what `sealOaep` returned. Undefined if it was not made for this key with this label. */
export async function openOaep(
  privateKey: KeyObject,
  sealed: Uint8Array,
  label: Uint8Array,
): Promise<Uint8Array | undefined> {
  // Section 7.1.2. OpenSSL also takes one without its leading zeros.
  if (sealed.length !== privateKey.asymmetricKeyDetails!.modulusLength! / 8) return undefined;
  const key = privateKey.toCryptoKey(OAEP, false, ['decrypt']);
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: OAEP.name, label: owned(label) }, key, owned(sealed)));
  } catch (error) {
    // Whatever is wrong with a ciphertext, Web Cryptography says OperationError.
    if ((error as Error).name === 'OperationError') return undefined;
    throw error;
  }
}

const OAEP = { name: 'RSA-OAEP', hash: 'SHA-256' } as const;

// Web Cryptography takes no view of shared memory, which the type of a Uint8Array leaves open.
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}
