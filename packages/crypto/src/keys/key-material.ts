import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  decapsulate,
  encapsulate,
  generateKeyPair,
  randomFillSync,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { IntegrityError } from '../envelope.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';

/**
 * The first byte of stored material says what follows it: the bytes of a secret key, a private key in PKCS#8 (DER), or a
 * public key in SubjectPublicKeyInfo (DER).
 */
const KIND_SECRET = 0x01;
const KIND_PRIVATE = 0x02;
const KIND_PUBLIC = 0x03;

/** The smallest public exponent of an imported RSA key: FIPS 186-5 section A.1.1. */
const RSA_EXPONENT_MIN = 2n ** 16n;

const generatePair = promisify(generateKeyPair);

/** The material of one key version, ready to use. OpenSSL holds the bytes, outside of the heap of JavaScript. */
export interface KeyMaterial {
  algorithm: KeyAlgorithm;
  /** A secret key, or the private key of a pair. The public key if only that was imported: see `holdsPrivate`. */
  key: KeyObject;
  /** Only of a pair. */
  publicKey?: KeyObject;
}

/**
 * Makes new material of the system's random bytes, as it is stored: `01` ‖ the bytes of a secret key, or `02` ‖ a private
 * key in PKCS#8. RSA takes up to some seconds, in a thread of its own. The caller overwrites the bytes.
 */
export async function generateKeyMaterial(algorithm: KeyAlgorithm): Promise<Uint8Array> {
  const spec = keyAlgorithms[algorithm];
  if ('keyBytes' in spec) {
    const material = new Uint8Array(1 + spec.keyBytes);
    material[0] = KIND_SECRET;
    randomFillSync(material, 1);
    return material;
  }
  const { privateKey } = await newPair(algorithm);
  return stored(KIND_PRIVATE, privateKey.export({ type: 'pkcs8', format: 'der' }));
}

/** Overwrites `bytes`. */
function stored(kind: number, bytes: Uint8Array): Uint8Array {
  const material = new Uint8Array(1 + bytes.length);
  material[0] = kind;
  material.set(bytes, 1);
  bytes.fill(0);
  return material;
}

function newPair(algorithm: KeyAlgorithm): Promise<{ privateKey: KeyObject }> {
  const spec = keyAlgorithms[algorithm];
  if (spec.family === 'rsa') return generatePair('rsa', { modulusLength: spec.bits, publicExponent: 0x10001 });
  if (spec.family === 'ecdsa' || spec.family === 'ecdh') return generatePair('ec', { namedCurve: spec.curve });
  if (spec.family === 'ed25519') return generatePair('ed25519');
  if (spec.family === 'x25519') return generatePair('x25519');
  if (spec.family === 'ml-dsa-65') return generatePair('ml-dsa-65');
  if (spec.family === 'ml-kem-768') return generatePair('ml-kem-768');
  throw new TypeError(`${algorithm} has no key pairs`);
}

/**
 * Material of a key that was made elsewhere, as it is stored: the bytes of a secret key, or a private key in PKCS#8 (DER).
 * The halves of a pair must belong together. The caller overwrites the bytes of both. Undefined if it is no key of the
 * algorithm.
 */
export function importKeyMaterial(algorithm: KeyAlgorithm, bytes: Uint8Array): Uint8Array | undefined {
  const spec = keyAlgorithms[algorithm];
  if ('keyBytes' in spec) return bytes.length === spec.keyBytes ? stored(KIND_SECRET, bytes) : undefined;
  const key = readOrUndefined(() => createPrivateKey({ key: Buffer.from(bytes), type: 'pkcs8', format: 'der' }));
  if (!key || !isKeyOf(algorithm, key) || !isSound(key)) return undefined;
  return stored(KIND_PRIVATE, key.export({ type: 'pkcs8', format: 'der' }));
}

/** The same for a public key in PEM (SubjectPublicKeyInfo), which only verifies and encrypts. */
export function importPublicKey(algorithm: KeyAlgorithm, pem: string): Uint8Array | undefined {
  const key = readPublicKey(pem);
  if (!key || !isKeyOf(algorithm, key) || !hasSafeExponent(key)) return undefined;
  return stored(KIND_PUBLIC, key.export({ type: 'spki', format: 'der' }));
}

/** A public key in PEM (SubjectPublicKeyInfo). Undefined for any other text, also for the PEM of a private key. */
export function readPublicKey(pem: string): KeyObject | undefined {
  if (!pem.trimStart().startsWith('-----BEGIN PUBLIC KEY-----')) return undefined;
  return readOrUndefined(() => createPublicKey({ key: pem, type: 'spki', format: 'pem' }));
}

// OpenSSL says in many ways that bytes are no key.
function readOrUndefined(read: () => KeyObject): KeyObject | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function isSound(privateKey: KeyObject): boolean {
  if (!hasSafeExponent(privateKey)) return false;
  try {
    return belongTogether(privateKey, createPublicKey(privateKey));
  } catch {
    return false;
  }
}

function belongTogether(privateKey: KeyObject, publicKey: KeyObject): boolean {
  const type = privateKey.asymmetricKeyType!;
  // RFC 8410 stores no public half of it: OpenSSL computes it.
  if (type === 'x25519') return true;
  if (type === 'ml-kem-768') {
    const { sharedKey, ciphertext } = encapsulate(publicKey);
    return timingSafeEqual(decapsulate(privateKey, ciphertext), sharedKey);
  }
  const hash = ['rsa', 'ec'].includes(type) ? 'sha256' : null;
  const probe = Buffer.from('cardea: do the halves belong together?');
  return verify(hash, probe, publicKey, sign(hash, probe, privateKey));
}

function hasSafeExponent({ asymmetricKeyDetails }: KeyObject): boolean {
  const exponent = asymmetricKeyDetails?.publicExponent;
  return exponent === undefined || (exponent > RSA_EXPONENT_MIN && exponent % 2n === 1n);
}

/** Whether it can do what needs a private key. */
export function holdsPrivate({ key }: KeyMaterial): boolean {
  return key.type !== 'public';
}

/**
 * The bytes of a key for an export, into new memory: those of a secret key, or a private key in PKCS#8 (DER). The caller
 * overwrites them.
 */
export function exportKeyMaterial({ key }: KeyMaterial): Uint8Array {
  return key.type === 'secret' ? key.export() : key.export({ type: 'pkcs8', format: 'der' });
}

/**
 * Reads stored material. The caller overwrites the bytes.
 * @throws IntegrityError if it is no key of the algorithm
 */
export function readKeyMaterial(algorithm: KeyAlgorithm, material: Uint8Array): KeyMaterial {
  const spec = keyAlgorithms[algorithm];
  const bytes = Buffer.from(material.buffer, material.byteOffset + 1, material.byteLength - 1);
  if ('keyBytes' in spec) {
    if (material[0] !== KIND_SECRET || bytes.length !== spec.keyBytes) throw notA(algorithm);
    return { algorithm, key: createSecretKey(bytes) };
  }
  if (material[0] === KIND_PUBLIC) {
    const publicKey = createPublicKey({ key: bytes, type: 'spki', format: 'der' });
    if (!isKeyOf(algorithm, publicKey)) throw notA(algorithm);
    return { algorithm, key: publicKey, publicKey };
  }
  if (material[0] !== KIND_PRIVATE) throw notA(algorithm);
  const key = createPrivateKey({ key: bytes, type: 'pkcs8', format: 'der' });
  if (!isKeyOf(algorithm, key)) throw notA(algorithm);
  return { algorithm, key, publicKey: createPublicKey(key) };
}

/** Whether a key of a pair, private or public, has the type and the size that the algorithm names. */
export function isKeyOf(
  algorithm: KeyAlgorithm,
  { asymmetricKeyType: type, asymmetricKeyDetails }: KeyObject,
): boolean {
  const spec = keyAlgorithms[algorithm];
  if (spec.family === 'rsa') return type === 'rsa' && asymmetricKeyDetails?.modulusLength === spec.bits;
  if ('curve' in spec) return type === 'ec' && asymmetricKeyDetails?.namedCurve === spec.curve;
  return type === spec.family;
}

function notA(algorithm: KeyAlgorithm): IntegrityError {
  return new IntegrityError(`the stored material is no key of ${algorithm}`);
}
