import { createCipheriv, createDecipheriv, createHmac, randomFillSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { constantTimeEqual } from '../ids.ts';

const VERSION = 0x80;
const TIME_OFFSET = 1;
const IV_OFFSET = 9;
const IV_BYTES = 16;
const BODY_OFFSET = IV_OFFSET + IV_BYTES;
const BLOCK_BYTES = 16;
const MAC_BYTES = 32;
const SKEW_SECONDS = 60;

/** When a token is made, and what makes it the only one of its kind. */
export interface FernetTime {
  /** Seconds since 1970. */
  nowSeconds: number;
}

/**
 * Encrypts as a Fernet token (https://github.com/fernet/spec, version 0x80): base64url with padding of
 * 80 ‖ u64be time ‖ iv[16] ‖ AES-128-CBC ‖ HMAC-SHA256. The key has 32 bytes: 16 sign and 16 encrypt.
 */
export function sealFernet(key: KeyObject, plaintext: Uint8Array, { nowSeconds }: FernetTime): string {
  return sealFernetWithIv(key, randomFillSync(Buffer.allocUnsafeSlow(IV_BYTES)), plaintext, { nowSeconds });
}

/** Only for test vectors: `sealFernet` with a given iv of 16 bytes. */
export function sealFernetWithIv(
  key: KeyObject,
  iv: Uint8Array,
  plaintext: Uint8Array,
  { nowSeconds }: FernetTime,
): string {
  return withHalves(key, ({ signing, encryption }) => {
    const cipher = createCipheriv('aes-128-cbc', encryption, iv);
    const header = Buffer.alloc(IV_OFFSET);
    header[0] = VERSION;
    header.writeBigUInt64BE(BigInt(nowSeconds), TIME_OFFSET);
    const signed = Buffer.concat([header, iv, cipher.update(plaintext), cipher.final()]);
    return padded(Buffer.concat([signed, macOf(signing, signed)]).toString('base64url'));
  });
}

/** What a Fernet token holds. */
export interface OpenedFernet {
  plaintext: Uint8Array;
  /** When it was made, in seconds since 1970. */
  madeAtSeconds: number;
}

/**
 * Decrypts a Fernet token. With `ttlSeconds`, a token that is older is refused, and one whose time is more than 60 s in
 * the future. Undefined if it is refused, or not a token of this key.
 */
export function openFernet(
  key: KeyObject,
  token: string,
  { nowSeconds, ttlSeconds }: FernetTime & { ttlSeconds?: number | undefined },
): OpenedFernet | undefined {
  const bytes = Buffer.from(token, 'base64url');
  const macOffset = bytes.length - MAC_BYTES;
  const isWhole = macOffset >= BODY_OFFSET + BLOCK_BYTES && (macOffset - BODY_OFFSET) % BLOCK_BYTES === 0;
  // Node skips characters that are not base64url, so the token is compared with what the bytes are written as.
  if (!isWhole || bytes[0] !== VERSION || padded(bytes.toString('base64url')) !== token) return undefined;
  return withHalves(key, ({ signing, encryption }) => {
    const signed = bytes.subarray(0, macOffset);
    if (!constantTimeEqual(macOf(signing, signed), bytes.subarray(macOffset))) return undefined;
    const seconds = Number(bytes.readBigUInt64BE(TIME_OFFSET));
    const isTooOld = ttlSeconds !== undefined && seconds + ttlSeconds < nowSeconds;
    if (isTooOld || (ttlSeconds !== undefined && seconds > nowSeconds + SKEW_SECONDS)) return undefined;
    const plaintext = decrypted(
      encryption,
      bytes.subarray(IV_OFFSET, BODY_OFFSET),
      bytes.subarray(BODY_OFFSET, macOffset),
    );
    return plaintext && { plaintext, madeAtSeconds: seconds };
  });
}

// The MAC is right here, so only a holder of the key could have made a wrong padding: it tells nobody else anything.
function decrypted(encryption: Uint8Array, iv: Uint8Array, body: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-128-cbc', encryption, iv);
  const plaintext = decipher.update(body);
  try {
    return Buffer.concat([plaintext, decipher.final()]);
  } catch {
    return undefined;
  } finally {
    plaintext.fill(0);
  }
}

function withHalves<T>(key: KeyObject, work: (halves: { signing: Uint8Array; encryption: Uint8Array }) => T): T {
  const bytes = key.export();
  try {
    return work({ signing: bytes.subarray(0, 16), encryption: bytes.subarray(16) });
  } finally {
    bytes.fill(0);
  }
}

function macOf(signing: Uint8Array, signed: Uint8Array): Uint8Array {
  return createHmac('sha256', signing).update(signed).digest();
}

// The specification writes base64url with its padding, and Node leaves it out.
function padded(text: string): string {
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}
