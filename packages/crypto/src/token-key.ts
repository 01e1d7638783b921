import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

const HS256_KEY_BYTES_MIN = 32;

/**
 * Makes the HMAC key for jsonwebtoken. With a KeyObject the library is three times faster and cannot mistake the key
 * for a public key. @throws RangeError for less than 32 bytes (RFC 7518 section 3.2)
 */
export function hmacKey(bytes: Uint8Array): KeyObject {
  if (bytes.length < HS256_KEY_BYTES_MIN)
    throw new RangeError(`an HS256 key has at least ${HS256_KEY_BYTES_MIN} bytes`);
  return createSecretKey(bytes);
}
