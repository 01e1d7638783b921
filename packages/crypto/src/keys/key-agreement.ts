import { createPublicKey, decapsulate, diffieHellman, encapsulate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isKeyOf } from './key-material.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';

/** Reads a public key (SubjectPublicKeyInfo in PEM) of an algorithm. Undefined if it is none: another algorithm, or no point of the curve. */
export function readPublicKey(algorithm: KeyAlgorithm, pem: string): KeyObject | undefined {
  // Node takes a private key too, and makes the public one of it: nobody should send that.
  if (!pem.trimStart().startsWith('-----BEGIN PUBLIC KEY-----')) return undefined;
  try {
    const key = createPublicKey({ key: pem, format: 'pem' });
    return isKeyOf(algorithm, key) ? key : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The secret of two keys, in a thread of its own: X25519 (RFC 7748 section 6.1), or the x of the common point (ECDH, NIST
 * SP 800-56A section 5.7.1.2). Undefined if the peer's key has few multiples, so that the secret would be no secret.
 */
export function agreeOn(privateKey: KeyObject, publicKey: KeyObject): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    diffieHellman({ privateKey, publicKey }, (error, secret) => resolve(error ? undefined : secret));
  });
}

/** A secret for the holder of a private key, and what carries it there. */
export interface Encapsulated {
  secret: Uint8Array;
  ciphertext: Uint8Array;
}

/** Makes a secret of 32 bytes with its ciphertext, in a thread of its own: ML-KEM, FIPS 203 section 7.2. */
export function encapsulateFor(publicKey: KeyObject): Promise<Encapsulated> {
  return new Promise((resolve, reject) => {
    encapsulate(publicKey, (error, made) =>
      error
        ? reject(error)
        : resolve({ secret: new Uint8Array(made.sharedKey), ciphertext: new Uint8Array(made.ciphertext) }),
    );
  });
}

/**
 * The secret of a ciphertext, FIPS 203 section 7.3. A ciphertext that was made for another key, or changed, gives another
 * secret. Undefined if it has another length.
 */
export function decapsulateWith(privateKey: KeyObject, ciphertext: Uint8Array): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    decapsulate(privateKey, ciphertext, (error, secret) => resolve(error ? undefined : new Uint8Array(secret)));
  });
}
