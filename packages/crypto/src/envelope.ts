import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import type { Cipheriv } from 'node:crypto';

const FORMAT_XAES_256_GCM = 0x01;
const HEADER_BYTES = 5;
const XAES_NONCE_BYTES = 24;
const GCM_NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const BLOCK_BYTES = 16;
const BODY_OFFSET = HEADER_BYTES + XAES_NONCE_BYTES;
const KEY_VERSION_MAX = 0xffff_ffff;

// How `seal` and `open` reach the cipher of a key, which the class shows to nobody else.
let cipherOf: (key: EnvelopeKey) => Xaes256Gcm;

/** An envelope that was changed, moved, cut, or sealed under another key. The message never holds bytes. */
export class IntegrityError extends Error {
  override name = 'IntegrityError';
}

/**
 * A 256-bit key with the version that its envelopes name. Holds the XAES-256-GCM subkey too, so
 * that one key opens many envelopes at the cost of two AES blocks each.
 */
export class EnvelopeKey {
  readonly version: number;
  readonly #bytes: Uint8Array;
  readonly #cipher: Xaes256Gcm;

  /** Copies `bytes` (32 of them). Throws RangeError unless `version` fits an unsigned 32-bit integer. */
  constructor(version: number, bytes: Uint8Array) {
    if (!Number.isInteger(version) || version < 0 || version > KEY_VERSION_MAX) {
      throw new RangeError('a key version is an unsigned 32-bit integer');
    }
    this.version = version;
    this.#cipher = new Xaes256Gcm(bytes);
    this.#bytes = new Uint8Array(bytes);
  }

  /** A copy of the 32 key bytes; who asks for it overwrites it. Throws once the key is destroyed. */
  bytes(): Uint8Array {
    this.#cipher.assertUsable();
    return new Uint8Array(this.#bytes);
  }

  /** Overwrites key and subkey with zeros. Any later use throws; destroying again does nothing. */
  destroy(): void {
    this.#bytes.fill(0);
    this.#cipher.destroy();
  }

  static {
    cipherOf = (key) => key.#cipher;
  }
}

/**
 * Seals `plaintext` under a random 192-bit nonce: format 0x01 ‖ u32be key version ‖ nonce[24] ‖
 * ciphertext ‖ tag[16]. `context` is authenticated, not stored: `open` must be given the same.
 */
export function seal(key: EnvelopeKey, plaintext: Uint8Array, context: Uint8Array): Uint8Array {
  const envelope = Buffer.allocUnsafeSlow(BODY_OFFSET + plaintext.length + TAG_BYTES);
  envelope[0] = FORMAT_XAES_256_GCM;
  envelope.writeUInt32BE(key.version, 1);
  const nonce = randomFillSync(envelope.subarray(HEADER_BYTES, BODY_OFFSET));
  envelope.set(cipherOf(key).seal(nonce, plaintext, associatedData(envelope, context)), BODY_OFFSET);
  return envelope;
}

/**
 * Opens what `seal` made, into memory of its own. Throws IntegrityError on an unknown format, a
 * key version that is not `key.version`, another context, another key, or any bit that differs.
 */
export function open(key: EnvelopeKey, envelope: Uint8Array, context: Uint8Array): Uint8Array {
  if (envelopeKeyVersion(envelope) !== key.version) {
    throw new IntegrityError('the envelope was sealed under another key version');
  }
  const nonce = envelope.subarray(HEADER_BYTES, BODY_OFFSET);
  return cipherOf(key).open(nonce, envelope.subarray(BODY_OFFSET), associatedData(envelope, context));
}

/** The key version an envelope names; true only once it opens. Throws IntegrityError on an unknown format or too few bytes. */
export function envelopeKeyVersion(envelope: Uint8Array): number {
  if (envelope.length < BODY_OFFSET + TAG_BYTES) throw new IntegrityError('the envelope is too short');
  if (envelope[0] !== FORMAT_XAES_256_GCM) throw new IntegrityError('the envelope has an unknown format');
  return new DataView(envelope.buffer, envelope.byteOffset).getUint32(1);
}

/**
 * XAES-256-GCM, C2SP XAES-256-GCM v1.0.1: 32-byte key, 24-byte nonce; answers ciphertext ‖ tag[16].
 * For test vectors: who seals data uses `seal`, which picks the nonce itself.
 */
export function sealXaes256Gcm(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
  const cipher = new Xaes256Gcm(key);
  try {
    return cipher.seal(nonce, plaintext, aad);
  } finally {
    cipher.destroy();
  }
}

/** The other half of `sealXaes256Gcm`; throws IntegrityError. */
export function openXaes256Gcm(
  key: Uint8Array,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  aad: Uint8Array,
): Uint8Array {
  const cipher = new Xaes256Gcm(key);
  try {
    return cipher.open(nonce, ciphertext, aad);
  } finally {
    cipher.destroy();
  }
}

/**
 * AES-256-GCM, NIST SP 800-38D, of `ciphertext` ‖ tag: 32-byte key, 12-byte nonce and 16-byte tag
 * only, since Node by itself takes other nonces and tags of 4 bytes. Throws IntegrityError.
 */
export function openAes256Gcm(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array, aad: Uint8Array): Uint8Array {
  assertLength('a GCM nonce', nonce, GCM_NONCE_BYTES);
  const tagOffset = ciphertext.length - TAG_BYTES;
  if (tagOffset < 0) throw new IntegrityError('the ciphertext is too short');
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad).setAuthTag(ciphertext.subarray(tagOffset));
  const plaintext = decipher.update(ciphertext.subarray(0, tagOffset));
  try {
    decipher.final();
  } catch (error) {
    plaintext.fill(0);
    throw new IntegrityError('the ciphertext does not authenticate', { cause: error });
  }
  return plaintext;
}

class Xaes256Gcm {
  // ECB without padding keeps no state between blocks, so one context serves every message.
  readonly #aes: Cipheriv;
  readonly #k1: Uint8Array;
  readonly #blocks: Uint8Array;
  #destroyed = false;

  constructor(key: Uint8Array) {
    assertLength('a key', key, KEY_BYTES);
    this.#aes = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    this.#k1 = doubled(this.#aes.update(new Uint8Array(BLOCK_BYTES)));
    this.#blocks = new Uint8Array(2 * BLOCK_BYTES);
  }

  seal(nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
    const messageKey = this.#messageKey(nonce);
    const cipher = createCipheriv('aes-256-gcm', messageKey, nonce.subarray(GCM_NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    messageKey.fill(0);
    cipher.setAAD(aad);
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  open(nonce: Uint8Array, ciphertext: Uint8Array, aad: Uint8Array): Uint8Array {
    const messageKey = this.#messageKey(nonce);
    try {
      return openAes256Gcm(messageKey, nonce.subarray(GCM_NONCE_BYTES), ciphertext, aad);
    } finally {
      messageKey.fill(0);
    }
  }

  assertUsable(): void {
    if (this.#destroyed) throw new Error('the key was destroyed');
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#k1.fill(0);
    this.#blocks.fill(0);
    // Ends the context, and with it OpenSSL overwrites the round keys, now and not at a garbage collection.
    this.#aes.final();
  }

  // Kx = AES_K(M1 ^ K1) ‖ AES_K(M2 ^ K1), Mi = 00 ‖ i ‖ "X" ‖ 00 ‖ nonce[:12] (CMAC of one block each).
  #messageKey(nonce: Uint8Array): Buffer {
    this.assertUsable();
    assertLength('an XAES-256-GCM nonce', nonce, XAES_NONCE_BYTES);
    writeBlock(this.#blocks, 0, 1, nonce, this.#k1);
    writeBlock(this.#blocks, BLOCK_BYTES, 2, nonce, this.#k1);
    return this.#aes.update(this.#blocks);
  }
}

function writeBlock(blocks: Uint8Array, offset: number, counter: number, nonce: Uint8Array, k1: Uint8Array): void {
  blocks.set([0x00, counter, 0x58, 0x00], offset);
  blocks.set(nonce.subarray(0, GCM_NONCE_BYTES), offset + 4);
  for (let i = 0; i < BLOCK_BYTES; i++) blocks[offset + i]! ^= k1[i]!;
}

// Multiplication by x in GF(2^128), NIST SP 800-38B section 6.1, without a branch on the key.
function doubled(block: Uint8Array): Uint8Array {
  const out = new Uint8Array(BLOCK_BYTES);
  for (let i = 0; i < BLOCK_BYTES; i++) out[i] = (block[i]! << 1) | ((block[i + 1] ?? 0) >> 7);
  out[BLOCK_BYTES - 1]! ^= 0x87 & -(block[0]! >> 7);
  block.fill(0);
  return out;
}

// The header is authenticated as well: u32be 5 ‖ header ‖ u32be length ‖ context.
function associatedData(envelope: Uint8Array, context: Uint8Array): Uint8Array {
  const aad = Buffer.allocUnsafe(4 + HEADER_BYTES + 4 + context.length);
  aad.writeUInt32BE(HEADER_BYTES, 0);
  aad.set(envelope.subarray(0, HEADER_BYTES), 4);
  aad.writeUInt32BE(context.length, 4 + HEADER_BYTES);
  aad.set(context, 4 + HEADER_BYTES + 4);
  return aad;
}

function assertLength(what: string, bytes: Uint8Array, expected: number): void {
  if (bytes.length !== expected) throw new RangeError(`${what} has ${expected} bytes`);
}
