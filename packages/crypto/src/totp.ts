import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 20;
const STEP_MS = 30_000;
const DIGITS = 6;
const CODE = /^[0-9]{6}$/;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const RECOVERY_GROUPS = 5;
const RECOVERY_GROUP_LETTERS = 5;

/** Makes 20 random bytes, the length of a SHA-1, as RFC 4226 section 4 (R6) recommends. */
export function generateTotpSecret(): Uint8Array {
  return new Uint8Array(randomBytes(SECRET_BYTES));
}

/**
 * Writes the `otpauth://totp/` address that authenticator apps read from a QR code. It states SHA-1, 6 digits and 30
 * seconds, although these are the defaults. It contains the secret.
 * @throws RangeError for a colon in the issuer or the account, because apps split the label there
 */
export function totpUri({ issuer, account, secret }: { issuer: string; account: string; secret: Uint8Array }): string {
  if (issuer.includes(':') || account.includes(':')) throw new RangeError('a TOTP label must not contain a colon');
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  const query = `secret=${base32(secret)}&issuer=${encodeURIComponent(issuer)}`;
  return `otpauth://totp/${label}?${query}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_MS / 1000}`;
}

/**
 * Returns the time step, in units of 30 s since 1970, of a TOTP code (RFC 6238, SHA-1, 6 digits) that is right at
 * `nowMs`, one step before or one step after. Undefined for any other code. Only exactly six ASCII digits are a code: a
 * space in it would make another text of the same code and bypass a list of used codes (CVE-2025-6014, CVE-2025-6015).
 * The caller stores the step and accepts only later steps, so that a code works only once.
 */
export function findTotpStep(secret: Uint8Array, otp: string, nowMs: number): number | undefined {
  if (!CODE.test(otp)) return undefined;
  const now = Math.floor(nowMs / STEP_MS);
  // All codes are computed before any is compared, so that the time does not show which one was right.
  const right = [now, now - 1, now + 1].filter((step) => step >= 0).filter((step) => isCodeOf(secret, step, otp));
  return right[0];
}

/**
 * The 6-digit HOTP code of a counter (RFC 4226 section 5.3).
 * @throws RangeError unless it is an integer from 0 to 2^53-1
 */
export function hotpCode(secret: Uint8Array, counter: number): string {
  if (!Number.isSafeInteger(counter) || counter < 0) throw new RangeError('a counter is an integer from 0 to 2^53-1');
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac('sha1', secret).update(message).digest();
  const offset = mac.readUInt8(mac.length - 1) & 0xf;
  const truncated = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return String(truncated % 10 ** DIGITS).padStart(DIGITS, '0');
}

/**
 * Makes `count` different recovery codes of 125 random bits each, such as `K3VQT-7WJ2A-…`: five groups of five base32
 * letters. ASVS 6.5.2 asks for 112 bits, so a plain SHA-256 of the normalized code may be stored.
 */
export function generateRecoveryCodes(count: number): string[] {
  return Array.from({ length: count }, recoveryCode);
}

/** Brings a typed recovery code into the form that is hashed: upper case without spaces and hyphens. */
export function normalizeRecoveryCode(code: string): string {
  return code.replaceAll(/[\s-]/g, '').toUpperCase();
}

function isCodeOf(secret: Uint8Array, step: number, otp: string): boolean {
  return timingSafeEqual(Buffer.from(hotpCode(secret, step)), Buffer.from(otp));
}

// A byte modulo 32 has no bias, because 256 is a multiple of 32.
function recoveryCode(): string {
  const letters = Array.from(randomBytes(RECOVERY_GROUPS * RECOVERY_GROUP_LETTERS), (byte) => BASE32[byte % 32]!);
  return Array.from({ length: RECOVERY_GROUPS }, (_, group) => {
    const start = group * RECOVERY_GROUP_LETTERS;
    return letters.slice(start, start + RECOVERY_GROUP_LETTERS).join('');
  }).join('-');
}

// RFC 4648 section 6 without padding, because authenticator apps treat padding differently.
function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const groups = bits.match(/.{1,5}/g) ?? [];
  return groups.map((group) => BASE32[Number.parseInt(group.padEnd(5, '0'), 2)]).join('');
}
