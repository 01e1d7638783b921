/** What a key of each algorithm is made of. The names are those of the REST interface. */
export const keyAlgorithms = {
  'aes-128-gcm': { family: 'aead', keyBytes: 16 },
  'aes-256-gcm': { family: 'aead', keyBytes: 32 },
  'chacha20-poly1305': { family: 'aead', keyBytes: 32 },
  fernet: { family: 'fernet', keyBytes: 32 },
  // The key is as long as the hash: RFC 2104 section 3 advises against less.
  'hmac-sha256': { family: 'hmac', keyBytes: 32, hash: 'sha256' },
  'hmac-sha384': { family: 'hmac', keyBytes: 48, hash: 'sha384' },
  'hmac-sha512': { family: 'hmac', keyBytes: 64, hash: 'sha512' },
  'rsa-2048': { family: 'rsa', bits: 2048 },
  'rsa-3072': { family: 'rsa', bits: 3072 },
  'rsa-4096': { family: 'rsa', bits: 4096 },
  // `curve` is how OpenSSL names it, `hash` the one that fits the size of the curve (FIPS 186-5 section 6.1.1).
  'ecdsa-p256': { family: 'ecdsa', curve: 'prime256v1', hash: 'sha256' },
  'ecdsa-p384': { family: 'ecdsa', curve: 'secp384r1', hash: 'sha384' },
  'ecdsa-p521': { family: 'ecdsa', curve: 'secp521r1', hash: 'sha512' },
  'ecdh-p256': { family: 'ecdh', curve: 'prime256v1' },
  ed25519: { family: 'ed25519' },
  x25519: { family: 'x25519' },
  'ml-dsa-65': { family: 'ml-dsa-65' },
  'ml-kem-768': { family: 'ml-kem-768' },
} as const;

export type KeyAlgorithm = keyof typeof keyAlgorithms;
type KeyFamily = (typeof keyAlgorithms)[KeyAlgorithm]['family'];
export type AeadAlgorithm = NamesOf<'aead'>;
export type HmacAlgorithm = NamesOf<'hmac'>;

type NamesOf<F extends KeyFamily> = {
  [A in KeyAlgorithm]: (typeof keyAlgorithms)[A]['family'] extends F ? A : never;
}[KeyAlgorithm];

/** Whether an algorithm is of a family. */
export function isOf<F extends KeyFamily>(family: F, algorithm: KeyAlgorithm): algorithm is NamesOf<F> {
  return keyAlgorithms[algorithm].family === family;
}

/** An algorithm whose keys are random bytes, and no pairs. */
export type SymmetricAlgorithm = NamesOf<'aead' | 'fernet' | 'hmac'>;

/** Whether the keys of an algorithm are random bytes. */
export function isSymmetric(algorithm: KeyAlgorithm): algorithm is SymmetricAlgorithm {
  return 'keyBytes' in keyAlgorithms[algorithm];
}
