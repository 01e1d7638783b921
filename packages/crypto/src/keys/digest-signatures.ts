import { constants, createHash, privateEncrypt, publicDecrypt, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { constantTimeEqual } from '../ids.ts';
import type { EcdsaFormat, RsaScheme, SignatureHash } from './signature-names.ts';

/** How a digest is signed: `SignatureTerms`, all of them decided. */
export type DigestTerms =
  | { family: 'rsa'; hash: SignatureHash; scheme: RsaScheme; saltLength: number }
  | { family: 'ecdsa'; curve: keyof typeof curves; format: EcdsaFormat };

// Node hashes whatever it signs. So the padding of RSA is written here (RFC 8017 section 9), and OpenSSL computes the
// power; ECDSA (FIPS 186-5 section 6.4) is that of noble, which needs the private number in memory of JavaScript.
const curves = { prime256v1: p256, secp384r1: p384, secp521r1: p521 };

/** Signs a digest that the caller has computed. It takes milliseconds and does not wait: see `digest-thread.ts`. */
export function signDigestNow(key: KeyObject, digest: Uint8Array, terms: DigestTerms): Uint8Array {
  if (terms.family === 'rsa') {
    const bits = key.asymmetricKeyDetails!.modulusLength!;
    const padded = terms.scheme === 'rsassa-pss' ? padPss(digest, terms, bits) : padPkcs1(digest, terms.hash, bits / 8);
    return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, padded);
  }
  const secret = key.export({ format: 'raw-private' });
  try {
    return curves[terms.curve].sign(digest, secret, { ...ecdsaOptions(terms.format), extraEntropy: true });
  } finally {
    secret.fill(0);
  }
}

/** Whether a signature is that of the digest. A malformed one is not. */
export function isSignatureOfDigestNow(
  key: KeyObject,
  digest: Uint8Array,
  signature: Uint8Array,
  terms: DigestTerms,
): boolean {
  if (terms.family === 'rsa') {
    const bits = key.asymmetricKeyDetails!.modulusLength!;
    if (signature.length !== bits / 8) return false;
    const padded = powerOf(key, signature);
    if (padded === undefined) return false;
    if (terms.scheme === 'rsassa-pss') return isPaddedPss(padded, digest, terms);
    return constantTimeEqual(padded, padPkcs1(digest, terms.hash, bits / 8));
  }
  try {
    const publicKey = key.export({ format: 'raw-public' });
    return curves[terms.curve].verify(signature, digest, publicKey, ecdsaOptions(terms.format));
  } catch {
    // noble throws at numbers that are no signature, whatever their form.
    return false;
  }
}

function ecdsaOptions(format: EcdsaFormat) {
  // As OpenSSL and FIPS 186-5, both halves of the range of s are signatures.
  return { prehash: false, lowS: false, format: format === 'der' ? 'der' : 'compact' } as const;
}

/** The signature to the power of the public exponent. Undefined if it is not below the modulus. */
function powerOf(key: KeyObject, signature: Uint8Array): Uint8Array | undefined {
  try {
    return publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
  } catch {
    return undefined;
  }
}

// DigestInfo up to the digest, RFC 8017 section 9.2, note 1.
const digestInfo = {
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
};

/** EMSA-PKCS1-v1_5, RFC 8017 section 9.2: 00 ‖ 01 ‖ ff… ‖ 00 ‖ DigestInfo. */
function padPkcs1(digest: Uint8Array, hash: SignatureHash, bytes: number): Uint8Array {
  const info = Buffer.concat([Buffer.from(digestInfo[hash], 'hex'), digest]);
  const padded = Buffer.alloc(bytes, 0xff);
  padded.writeUInt16BE(1, 0);
  padded[bytes - info.length - 1] = 0;
  padded.set(info, bytes - info.length);
  return padded;
}

interface PssTerms {
  hash: SignatureHash;
  saltLength: number;
}

/** EMSA-PSS, RFC 8017 section 9.1.1, with MGF1 of the same hash. The modulus is a whole number of bytes. */
function padPss(digest: Uint8Array, { hash, saltLength }: PssTerms, modulusBits: number): Uint8Array {
  const salt = randomBytes(saltLength);
  const h = hashOfPss(hash, digest, salt);
  const block = Buffer.alloc(modulusBits / 8 - h.length - 1);
  block[block.length - saltLength - 1] = 1;
  block.set(salt, block.length - saltLength);
  mask(block, h, hash);
  block[0]! &= 0x7f;
  return Buffer.concat([block, h, Buffer.of(0xbc)]);
}

/** EMSA-PSS-VERIFY, RFC 8017 section 9.1.2. */
function isPaddedPss(padded: Uint8Array, digest: Uint8Array, { hash, saltLength }: PssTerms): boolean {
  const h = padded.subarray(padded.length - digest.length - 1, -1);
  const block = Buffer.from(padded.subarray(0, padded.length - digest.length - 1));
  if (padded.at(-1) !== 0xbc || block[0]! > 0x7f) return false;
  mask(block, h, hash);
  block[0]! &= 0x7f;
  const zeros = block.subarray(0, block.length - saltLength - 1);
  if (block[zeros.length] !== 1 || zeros.some((byte) => byte !== 0)) return false;
  return constantTimeEqual(h, hashOfPss(hash, digest, block.subarray(zeros.length + 1)));
}

function hashOfPss(hash: SignatureHash, digest: Uint8Array, salt: Uint8Array): Buffer {
  return createHash(hash).update(Buffer.alloc(8)).update(digest).update(salt).digest();
}

/** MGF1, RFC 8017 section B.2.1: changes the block, and changes it back. */
function mask(block: Uint8Array, seed: Uint8Array, hash: SignatureHash): void {
  for (let counter = 0, offset = 0; offset < block.length; counter += 1) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    for (const byte of createHash(hash).update(seed).update(number).digest()) {
      if (offset < block.length) block[offset++]! ^= byte;
    }
  }
}
