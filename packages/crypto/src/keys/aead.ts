import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { AeadAlgorithm } from './key-algorithms.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** An AEAD key. The length of the key fits the algorithm, or Node throws. */
export interface AeadKey {
  algorithm: AeadAlgorithm;
  key: KeyObject;
}

/**
 * Encrypts by AES-GCM (NIST SP 800-38D) or ChaCha20-Poly1305 (RFC 8439): nonce[12] ‖ ciphertext ‖ tag[16]. The nonce is
 * random and made here. So one key must not encrypt more than 2^32 messages (SP 800-38D section 8.3).
 */
export function sealAead(key: AeadKey, plaintext: Uint8Array, associatedData: Uint8Array): Uint8Array {
  return sealAeadWithNonce(key, nextNonce(), plaintext, associatedData);
}

// The generator is asked for many nonces at once: for one it takes as long as the encryption. Each is taken once.
const NONCES = 256;
const nonces = Buffer.allocUnsafeSlow(NONCES * NONCE_BYTES);
let nextAt = nonces.length;

function nextNonce(): Uint8Array {
  if (nextAt === nonces.length) {
    randomFillSync(nonces);
    nextAt = 0;
  }
  nextAt += NONCE_BYTES;
  return nonces.subarray(nextAt - NONCE_BYTES, nextAt);
}

/** Only for test vectors: `sealAead` with a given nonce of 12 bytes. A nonce that is used twice gives the key away. */
export function sealAeadWithNonce(
  { algorithm, key }: AeadKey,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv(algorithm as 'aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts what `sealAead` returned. Undefined if it was not made by this key with this associated data. */
export function openAead(
  { algorithm, key }: AeadKey,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array | undefined {
  const tagOffset = sealed.length - TAG_BYTES;
  if (tagOffset < NONCE_BYTES) return undefined;
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv(algorithm as 'aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData).setAuthTag(sealed.subarray(tagOffset));
  const plaintext = decipher.update(sealed.subarray(NONCE_BYTES, tagOffset));
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    return undefined;
  }
}
