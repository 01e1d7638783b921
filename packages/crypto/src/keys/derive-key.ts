import { createSecretKey, hkdfSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isSymmetric, keyAlgorithms } from './key-algorithms.ts';
import type { KeyMaterial } from './key-material.ts';

/** How a key derives a key for each context. The names are those of the REST interface. */
export type KeyDerivation = 'hkdf-sha256';

/**
 * Derives the key of a context, of the same algorithm: HKDF-SHA256 (RFC 5869) of the key, without a salt, with the context
 * as `info`. The context has 1 to 1,024 bytes: Node takes no more.
 * @throws TypeError if the algorithm has key pairs
 */
export function deriveKey({ algorithm, key }: KeyMaterial, context: Uint8Array): KeyMaterial {
  if (!isSymmetric(algorithm)) throw new TypeError(`${algorithm} derives no keys`);
  const derived = hkdfSha256(key, { salt: new Uint8Array(0), info: context, bytes: keyAlgorithms[algorithm].keyBytes });
  try {
    return { algorithm, key: createSecretKey(derived) };
  } finally {
    derived.fill(0);
  }
}

/** HKDF-SHA256, RFC 5869. The caller overwrites the result. */
export function hkdfSha256(
  key: KeyObject,
  { salt, info, bytes }: { salt: Uint8Array; info: Uint8Array; bytes: number },
): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, salt, info, bytes));
}
