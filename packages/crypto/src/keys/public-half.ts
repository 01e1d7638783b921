import type { KeyObject } from 'node:crypto';

/** A public key as text. */
export interface PublicHalf {
  /** SubjectPublicKeyInfo, RFC 5280, in PEM. */
  pem: string;
  /** RFC 7517, with the `kid` that was given. */
  jwk: Record<string, string>;
}

/** Writes a public key in the forms that other programs read. */
export function publicHalfOf(publicKey: KeyObject, kid: string): PublicHalf {
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
  return { pem: publicKey.export({ type: 'spki', format: 'pem' }), jwk: { ...jwk, kid } };
}
