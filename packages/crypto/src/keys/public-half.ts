import type { KeyObject } from 'node:crypto';
import { jwsAlgsOf } from './jws.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';

/** A public key as text. */
export interface PublicHalf {
  /** SubjectPublicKeyInfo, RFC 5280, in PEM. */
  pem: string;
  /** RFC 7517, with the `kid` that was given. `use` and `alg` are there if the key has one of them. */
  jwk: Record<string, string>;
}

// RFC 7517 section 4.2. A key of RSA signs and encrypts.
const uses: Partial<Record<(typeof keyAlgorithms)[KeyAlgorithm]['family'], 'sig' | 'enc'>> = {
  ecdsa: 'sig',
  ed25519: 'sig',
  'ml-dsa-65': 'sig',
  ecdh: 'enc',
  x25519: 'enc',
  'ml-kem-768': 'enc',
};

/** Writes a public key in the forms that other programs read. */
export function publicHalfOf(
  publicKey: KeyObject,
  { algorithm, kid }: { algorithm: KeyAlgorithm; kid: string },
): PublicHalf {
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const use = uses[keyAlgorithms[algorithm].family];
  // A verifier takes no other name than this one, so a key that signs under several has none.
  const [alg, ...others] = jwsAlgsOf(algorithm).keys();
  const isOnly = alg !== undefined && others.length === 0;
  return {
    pem: publicKey.export({ type: 'spki', format: 'pem' }),
    jwk: { ...jwk, ...(isOnly ? { alg } : {}), ...(use ? { use } : {}), kid },
  };
}
