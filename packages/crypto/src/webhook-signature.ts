import { Webhook } from 'standardwebhooks';
import { fromBase64, parseBase64, toBase64 } from './encoding.ts';
import { constantTimeEqual } from './ids.ts';

/** What a webhook signature covers. */
export interface SignedMessage {
  /** The header `webhook-id`. It has no dot, which would make the signed text ambiguous. */
  id: string;
  /** The header `webhook-timestamp`, in seconds since 1970. */
  timestampSeconds: number;
  body: string;
}

const SECRET_PREFIX = 'whsec_';
const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;
/** One message may have several signatures, while a secret is being replaced. */
const SIGNATURES_MAX = 8;

/** The header `webhook-signature` of a message: `v1,` and the base64 of HMAC-SHA256 (Standard Webhooks). */
export function signWebhook(key: Uint8Array, { id, timestampSeconds, body }: SignedMessage): string {
  return new Webhook(key, { format: 'raw' }).sign(id, new Date(timestampSeconds * 1000), body);
}

/**
 * Whether one of the signatures in the header is that of the key. Signatures of other versions than `v1` are skipped,
 * and a header with more than 8 signatures has none that counts. The time depends on the lengths only.
 */
export function isSignedBy(key: Uint8Array, message: SignedMessage, header: string): boolean {
  const expected = fromBase64(signWebhook(key, message).slice('v1,'.length));
  const given = header.split(' ');
  if (given.length > SIGNATURES_MAX) return false;
  return given.map((signature) => isSignature(signature, expected)).includes(true);
}

function isSignature(signature: string, expected: Uint8Array): boolean {
  const [version, text = '', ...more] = signature.split(',');
  const bytes = version === 'v1' && more.length === 0 ? parseBase64(text) : undefined;
  return bytes !== undefined && constantTimeEqual(bytes, expected);
}

/** A key as the text that both sides configure: `whsec_` and its base64. */
export function formatWebhookSecret(key: Uint8Array): string {
  return SECRET_PREFIX + toBase64(key);
}

/** The key of a text; undefined unless it is `whsec_` and the base64 of 24 to 64 bytes. */
export function parseWebhookSecret(text: string): Uint8Array | undefined {
  if (!text.startsWith(SECRET_PREFIX)) return undefined;
  const key = parseBase64(text.slice(SECRET_PREFIX.length));
  return key && key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX ? key : undefined;
}
