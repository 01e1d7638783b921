import { constants, sign, verify } from 'node:crypto';
import type { KeyObject, SignKeyObjectInput } from 'node:crypto';
import type { DigestTerms } from './digest-signatures.ts';
import { inDigestThread } from './in-digest-thread.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';
import type { EcdsaFormat, RsaScheme, SignatureHash } from './signature-names.ts';

/** How a message is signed. */
export interface SignatureTerms {
  /** RSA and ECDSA. The default is the hash that fits the size of the curve; SHA-256 for RSA. */
  hash?: SignatureHash | undefined;
  /** RSA only. The default is RSASSA-PSS. */
  scheme?: RsaScheme | undefined;
  /** RSASSA-PSS only, in bytes. The default is the length of the hash. */
  saltLength?: number | undefined;
  /** ECDSA only. The default is `der`. */
  format?: EcdsaFormat | undefined;
}

/** A key pair for signatures, or half of it. */
export interface SignatureKey {
  algorithm: KeyAlgorithm;
  /** The private key to sign, the public key to verify. */
  key: KeyObject;
}

/** Signs a message, in a thread of its own: RSASSA-PSS and RSASSA-PKCS1-v1_5 (RFC 8017), ECDSA (FIPS 186-5), Ed25519 (RFC 8032), ML-DSA (FIPS 204). */
export function signMessage(key: SignatureKey, message: Uint8Array, terms: SignatureTerms): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    sign(hashOf(key.algorithm, terms.hash) ?? null, message, inputOf(key, terms), (error, signature) =>
      error ? reject(error) : resolve(signature),
    );
  });
}

/** Whether a signature is that of the key, the message and the terms. A malformed one is not. In a thread of its own. */
export function isSignatureOf(
  key: SignatureKey,
  message: Uint8Array,
  signature: Uint8Array,
  terms: SignatureTerms,
): Promise<boolean> {
  if (!isOfModulusLength(key, signature)) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(hashOf(key.algorithm, terms.hash) ?? null, message, inputOf(key, terms), signature, (error, isValid) =>
      error ? reject(error) : resolve(isValid),
    );
  });
}

/** Signs a digest of the hash of the terms. RSA and ECDSA only: the others need the message. */
export async function signDigest(key: SignatureKey, digest: Uint8Array, terms: SignatureTerms): Promise<Uint8Array> {
  const answer = await inDigestThread({ key: key.key, digest, terms: digestTermsOf(key, terms) });
  if ('made' in answer) return answer.made;
  throw new Error(`a digest was not signed: ${'failed' in answer ? answer.failed : 'it was verified'}`);
}

/** Whether a signature is that of the key, the digest and the terms. RSA and ECDSA only. */
export async function isSignatureOfDigest(
  key: SignatureKey,
  digest: Uint8Array,
  signature: Uint8Array,
  terms: SignatureTerms,
): Promise<boolean> {
  if (!isOfModulusLength(key, signature)) return false;
  const answer = await inDigestThread({ key: key.key, digest, signature, terms: digestTermsOf(key, terms) });
  if ('holds' in answer) return answer.holds;
  throw new Error(`a digest was not verified: ${'failed' in answer ? answer.failed : 'it was signed'}`);
}

// RFC 8017 section 8.1.2: a signature of RSA is as long as the modulus. OpenSSL also takes one of RSASSA-PSS without its
// leading zeros, which would be a second signature that nobody has made.
function isOfModulusLength({ algorithm, key }: SignatureKey, signature: Uint8Array): boolean {
  if (keyAlgorithms[algorithm].family !== 'rsa') return true;
  return signature.length === key.asymmetricKeyDetails!.modulusLength! / 8;
}

const hashBytes = { sha256: 32, sha384: 48, sha512: 64 };

/** The bytes of a digest that the key signs on these terms. Undefined if it signs messages only. */
export function digestBytesOf(algorithm: KeyAlgorithm, { hash }: SignatureTerms): number | undefined {
  const name = hashOf(algorithm, hash);
  return name && hashBytes[name];
}

function digestTermsOf({ algorithm }: SignatureKey, terms: SignatureTerms): DigestTerms {
  const spec = keyAlgorithms[algorithm];
  const { hash = 'sha256', scheme = 'rsassa-pss', format = 'der' } = terms;
  if (spec.family === 'rsa') return { family: 'rsa', hash, scheme, saltLength: terms.saltLength ?? hashBytes[hash] };
  if (spec.family === 'ecdsa') return { family: 'ecdsa', curve: spec.curve, format };
  throw new TypeError(`${algorithm} signs no digests`);
}

/** The hash of a signature. Undefined if the algorithm has one of its own. */
function hashOf(algorithm: KeyAlgorithm, hash: SignatureHash | undefined): SignatureHash | undefined {
  const spec = keyAlgorithms[algorithm];
  if (spec.family === 'rsa') return hash ?? 'sha256';
  return spec.family === 'ecdsa' ? (hash ?? spec.hash) : undefined;
}

function inputOf(
  signatureKey: SignatureKey,
  { scheme, saltLength, format = 'der' }: SignatureTerms,
): SignKeyObjectInput {
  const { algorithm, key } = signatureKey;
  const { family } = keyAlgorithms[algorithm];
  if (family === 'ecdsa') return { key, dsaEncoding: format };
  if (family !== 'rsa') return { key };
  if (scheme === 'rsassa-pkcs1-v1_5') return { key, padding: constants.RSA_PKCS1_PADDING };
  return {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: saltLength ?? constants.RSA_PSS_SALTLEN_DIGEST,
  };
}
