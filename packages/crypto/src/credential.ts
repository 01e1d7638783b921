import { createHmac, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { randomSecret, sha256 } from './ids.ts';

const PREFIX = 'cardea_';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_BYTES = 32;
const SECRET_LETTERS = 43; // 62^43 > 2^256 > 62^42
const CHECKSUM_LETTERS = 6; // 62^6 > 2^32 > 62^5
const CREDENTIAL = /^(?<body>cardea_[0-9A-Za-z]{43})_(?<checksum>[0-9A-Za-z]{6})$/;
const REFRESH_DOMAIN = 'cardea/refresh/v1';
const REFRESH_TOKEN_BYTES = 32;
const REFRESH_KEY_BYTES_MIN = 32;

/**
 * Makes a new secret of an application: `cardea_`, 32 random bytes as 43 base62 digits, `_`, and the CRC-32 (as in
 * zlib) of everything before that `_` as 6 digits. It has 57 ASCII characters. Scanners find leaked credentials by the
 * prefix.
 */
export function generateCredential(): string {
  const body = PREFIX + base62(bigIntOf(randomBytes(SECRET_BYTES)), SECRET_LETTERS);
  return `${body}_${checksumOf(body)}`;
}

/**
 * True if a text has the form and checksum of a credential. This drops typos before a query and proves nothing else.
 */
export function isCredential(text: string): boolean {
  const { body, checksum } = CREDENTIAL.exec(text)?.groups ?? {};
  // The checksum is no secret: clients can compute it from the text that they sent.
  return body !== undefined && checksum === checksumOf(body);
}

/** SHA-256 (32 bytes) of a credential or a refresh token. 256 random bits need no slow hash (ASVS 6.5.2). */
export function credentialHash(text: string): Uint8Array {
  return sha256(text);
}

/** Makes 256 random bits as base64url, 43 characters. */
export function generateRefreshToken(): string {
  return randomSecret(REFRESH_TOKEN_BYTES);
}

/**
 * Computes the refresh token that follows `token`: base64url of HMAC-SHA256(key, length ‖ "cardea/refresh/v1" ‖ token),
 * with the length as u32be. A client that lost the first answer and asks again gets the same token, which is not
 * stored.
 * @throws RangeError for a key of less than 32 bytes
 */
export function refreshSuccessor(key: Uint8Array, token: string): string {
  if (key.length < REFRESH_KEY_BYTES_MIN) throw new RangeError('a refresh key has at least 32 bytes');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(REFRESH_DOMAIN));
  return createHmac('sha256', key).update(length).update(REFRESH_DOMAIN).update(token).digest('base64url');
}

function checksumOf(body: string): string {
  return base62(BigInt(crc32(body)), CHECKSUM_LETTERS);
}

function bigIntOf(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}

// Converts the bytes as one number. One digit from each byte modulo 62 would make the first eight digits more frequent.
function base62(value: bigint, letters: number): string {
  let rest = value;
  let text = '';
  while (text.length < letters) {
    text = BASE62[Number(rest % 62n)]! + text;
    rest /= 62n;
  }
  return text;
}
