import { hash, randomBytes, randomFillSync, randomUUID, timingSafeEqual } from 'node:crypto';

const UNIX_MS_MAX = 2 ** 48 - 1;
const COUNTER_MAX = 0xfff;
const COUNTER_SEED_MAX = 0x7ff;

let lastMs = -1;
let counter = 0;

/**
 * Makes a UUIDv7 (RFC 9562 section 5.7) of `nowMs`, in milliseconds since 1970. As text it is greater than every id
 * that this process made before, even within one millisecond and after the clock stepped back: rand_a is a counter with
 * a random start (section 6.2, method 1), and the last time is remembered. 62 bits are random.
 * @throws RangeError unless `nowMs` is a 48-bit integer
 */
export function uuidv7(nowMs: number): string {
  if (!Number.isInteger(nowMs) || nowMs < 0 || nowMs > UNIX_MS_MAX) {
    throw new RangeError('a time is a whole number of milliseconds since 1970');
  }
  advance(nowMs);
  const time = lastMs.toString(16).padStart(12, '0');
  const sequence = counter.toString(16).padStart(3, '0');
  // The second half of a random UUIDv4 has the right layout: the variant, then 62 random bits.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence}-${randomUUID().slice(19)}`;
}

/** Makes `bytes` random bytes as base64url without padding. */
export function randomSecret(bytes: number): string {
  return randomBytes(bytes).toString('base64url');
}

/** Makes 32 random bytes in their own memory. The caller overwrites them after use. */
export function randomKey(): Uint8Array {
  return randomOctets(32);
}

/** Makes `length` random bytes in their own memory, by the generator that makes keys. */
export function randomOctets(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length));
}

/** SHA-256 (FIPS 180-4), 32 bytes. A string is hashed as UTF-8. */
export function sha256(data: Uint8Array | string): Uint8Array {
  return hash('sha256', data, 'buffer');
}

/** SHA-256 as 64 lower-case hex digits. */
export function sha256Hex(data: Uint8Array | string): string {
  return hash('sha256', data, 'hex');
}

/** Compares bytes in a time that depends only on their lengths. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function advance(nowMs: number): void {
  if (nowMs > lastMs) {
    start(nowMs);
  } else if (counter < COUNTER_MAX) {
    counter++;
  } else {
    start(lastMs + 1);
  }
}

// The start is in the lower half, so that at least 2,048 more ids fit into the same millisecond.
function start(ms: number): void {
  lastMs = ms;
  // Three of the random digits of a UUIDv4, which Node makes from bytes that it has asked for in advance.
  counter = Number.parseInt(randomUUID().slice(0, 3), 16) & COUNTER_SEED_MAX;
}
