import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 20;
const STEP_MS = 30_000;
const DIGITS = 6;
const CODE = /^[0-9]{6}$/;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const RECOVERY_GROUPS = 5;
const RECOVERY_GROUP_LETTERS = 5;

/** 20 random bytes, the length of a SHA-1, as RFC 4226 section 4 (R6) recommends. */
export function generateTotpSecret(): Uint8Array {
  return new Uint8Array(randomBytes(SECRET_BYTES));
}

/**
 * The `otpauth://totp/` address that authenticator apps read from a QR code: SHA-1, 6 digits, 30 seconds, which
 * are stated although they are the defaults. Holds the secret. Throws RangeError on a colon in the issuer or
 * the account, since apps split the label there.
 */
export function totpUri({ issuer, account, secret }: { issuer: string; account: string; secret: Uint8Array }): string {
  if (issuer.includes(':') || account.includes(':')) throw new RangeError('a TOTP label holds no colon');
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  const query = `secret=${base32(secret)}&issuer=${encodeURIComponent(issuer)}`;
  return `otpauth://totp/${label}?${query}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_MS / 1000}`;
}

/**
 * The time step, in 30 s since 1970, of a TOTP code (RFC 6238, SHA-1, 6 digits) that is right at `nowMs`, one step
 * before or one after; undefined if it is none of these. Exactly six ASCII digits are a code: one with a space in it
 * would be another text for the same code, and so dodge a memory of used ones (CVE-2025-6014, CVE-2025-6015). A code
 * works once only if the caller stores the step and takes later ones alone.
 */
export function findTotpStep(secret: Uint8Array, otp: string, nowMs: number): number | undefined {
  if (!CODE.test(otp)) return undefined;
  const now = Math.floor(nowMs / STEP_MS);
  // All are computed before any is looked at, so that time does not tell which one was right.
  const right = [now, now - 1, now + 1].filter((step) => step >= 0).filter((step) => isCodeOf(secret, step, otp));
  return right[0];
}

/** The HOTP code of a counter (RFC 4226 section 5.3), 6 digits. Throws RangeError unless it is an integer from 0 to 2^53-1. */
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
 * `count` different recovery codes of 125 random bits each, such as `K3VQT-7WJ2A-…`: five groups of five letters
 * of base32. Enough bits (ASVS 6.5.2 asks for 112) to be stored as a plain SHA-256 of the normalized code.
 */
export function generateRecoveryCodes(count: number): string[] {
  return Array.from({ length: count }, recoveryCode);
}

/** A recovery code as somebody typed it, in the one form that is hashed: no spaces or hyphens, upper case. */
export function normalizeRecoveryCode(code: string): string {
  return code.replaceAll(/[\s-]/g, '').toUpperCase();
}

function isCodeOf(secret: Uint8Array, step: number, otp: string): boolean {
  return timingSafeEqual(Buffer.from(hotpCode(secret, step)), Buffer.from(otp));
}

// A byte modulo 32 is unbiased, as 256 is a multiple of it.
function recoveryCode(): string {
  const letters = Array.from(randomBytes(RECOVERY_GROUPS * RECOVERY_GROUP_LETTERS), (byte) => BASE32[byte % 32]!);
  return Array.from({ length: RECOVERY_GROUPS }, (_, group) => {
    const start = group * RECOVERY_GROUP_LETTERS;
    return letters.slice(start, start + RECOVERY_GROUP_LETTERS).join('');
  }).join('-');
}

// RFC 4648 section 6, without padding, which authenticator apps do not agree on.
function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const groups = bits.match(/.{1,5}/g) ?? [];
  return groups.map((group) => BASE32[Number.parseInt(group.padEnd(5, '0'), 2)]).join('');
}
