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

// `seal` and `open` reach the cipher of a key through this. The class shows it to no other code.
let cipherOf: (key: EnvelopeKey) => Xaes256Gcm;

/** An envelope that was changed, moved, cut, or sealed under another key. The message never shows its bytes. */
export class IntegrityError extends Error {
  override name = 'IntegrityError';
}

/**
 * A 256-bit key with the version that its envelopes name. It also keeps the XAES-256-GCM subkey, so each envelope costs
 * only two more AES blocks.
 */
export class EnvelopeKey {
  readonly version: number;
  readonly #bytes: Uint8Array;
  readonly #cipher: Xaes256Gcm;

  /** Copies `bytes`, which are 32. @throws RangeError unless `version` is an unsigned 32-bit integer */
  constructor(version: number, bytes: Uint8Array) {
    if (!Number.isInteger(version) || version < 0 || version > KEY_VERSION_MAX) {
      throw new RangeError('a key version is an unsigned 32-bit integer');
    }
    this.version = version;
    this.#cipher = new Xaes256Gcm(bytes);
    this.#bytes = new Uint8Array(bytes);
  }

  /** Returns a copy of the 32 key bytes. The caller overwrites it. @throws Error once the key is destroyed */
  bytes(): Uint8Array {
    this.#cipher.assertUsable();
    return new Uint8Array(this.#bytes);
  }

  /** Overwrites key and subkey with zeros. Any later use throws. A second call does nothing. */
  destroy(): void {
    this.#bytes.fill(0);
    this.#cipher.destroy();
  }

  static {
    cipherOf = (key) => key.#cipher;
  }
}

/**
 * Seals `plaintext` under a random 192-bit nonce: format 0x01 ‖ u32be key version ‖ nonce[24] ‖ ciphertext ‖ tag[16].
 * `context` is authenticated and not stored. `open` needs the same context.
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
 * Opens an envelope that `seal` made. The plaintext has its own memory.
 * @throws IntegrityError for an unknown format, a key version other than `key.version`, another context, another key,
 * or any changed bit
 */
export function open(key: EnvelopeKey, envelope: Uint8Array, context: Uint8Array): Uint8Array {
  if (envelopeKeyVersion(envelope) !== key.version) {
    throw new IntegrityError('the envelope was sealed under another key version');
  }
  const nonce = envelope.subarray(HEADER_BYTES, BODY_OFFSET);
  return cipherOf(key).open(nonce, envelope.subarray(BODY_OFFSET), associatedData(envelope, context));
}

/**
 * Reads the key version of an envelope, unauthenticated until it opens.
 * @throws IntegrityError if no header can be read
 */
export function envelopeKeyVersion(envelope: Uint8Array): number {
  if (envelope.length < BODY_OFFSET + TAG_BYTES) throw new IntegrityError('the envelope is too short');
  if (envelope[0] !== FORMAT_XAES_256_GCM) throw new IntegrityError('the envelope has an unknown format');
  return new DataView(envelope.buffer, envelope.byteOffset).getUint32(1);
}

/**
 * XAES-256-GCM, C2SP XAES-256-GCM v1.0.1, with a 32-byte key and a 24-byte nonce. Returns ciphertext ‖ tag[16].
 * Only for test vectors. Code that seals data uses `seal`, which chooses the nonce.
 */
export function sealXaes256Gcm(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
  const cipher = new Xaes256Gcm(key);
  try {
    return cipher.seal(nonce, plaintext, aad);
  } finally {
    cipher.destroy();
  }
}

/** Opens what `sealXaes256Gcm` returned. @throws IntegrityError */
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
 * Opens `ciphertext` ‖ tag by AES-256-GCM, NIST SP 800-38D. The key has 32 bytes, the nonce 12 and the tag 16. Node
 * itself would also accept other nonces and tags of 4 bytes.
 * @throws IntegrityError
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
  // ECB without padding keeps no state between blocks, so one cipher object serves every message.
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
    // This makes OpenSSL overwrite the round keys now and not at some garbage collection.
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
