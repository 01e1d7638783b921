import { AppError } from '@cardea/contracts/errors';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import { randomKey } from '@cardea/crypto/ids';
import { isSignedBy } from '@cardea/crypto/webhook-signature';
import type { SignedMessage } from '@cardea/crypto/webhook-signature';
import type { VaultContext } from '../context.ts';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { requireUnsealed } from '../deks/system-sealing.ts';
import { WEBHOOK_SECRETS_MAX, openWebhookKeys } from '../webhook-secrets/webhook-secrets.ts';

/** How far the timestamp of a webhook may be from the clock, in either direction. */
export const TOLERANCE_MS = 5 * MINUTE_MS;

/** A request as it was received. */
export interface WebhookInput {
  /**
   * A GET is signed over an empty body, and a POST over one that is not empty. So the signature of one is never that of
   * the other.
   */
  method: 'GET' | 'POST';
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The exact bytes of the body. */
  body: Uint8Array;
}

/** A webhook whose signature and time are right. */
export interface VerifiedWebhook {
  /** The header `webhook-id`. */
  messageId: string;
  secretId: string;
}

/**
 * Checks the signature of a request over its exact bytes. The error says nothing about what is wrong: a caller cannot
 * learn whether there is a secret, or whether only the time is wrong. The record of the refusal says it.
 * @throws AppError `unauthenticated`; `sealed`; `unavailable` while the audit log does not answer
 */
export async function verifyWebhook(
  ctx: Pick<VaultContext, 'audit' | 'db' | 'deks' | 'now'>,
  { method, headers, body }: WebhookInput,
): Promise<VerifiedWebhook> {
  ctx.audit.admit();
  const message = parseMessage(headers, body);
  const hasBody = body.length > 0;
  if (!message || hasBody !== (method === 'POST')) throw refused('webhook-malformed', 'webhook_forged');
  const { hasSecret, secretId } = await findSigner(ctx, message, String(headers['webhook-signature']));
  if (!hasSecret) throw refused('no-webhook-secret', 'webhook_forged');
  if (secretId === undefined) throw refused('webhook-forged', 'webhook_forged');
  const age = ctx.now().getTime() - message.timestampSeconds * SECOND_MS;
  if (Math.abs(age) > TOLERANCE_MS) throw refused('webhook-time', 'webhook_replayed', secretId);
  return { messageId: message.id, secretId };
}

/** The one answer to every webhook that is not accepted. Only its record says why. */
export function refused(rule: AuditRule, suspicious: SuspiciousRule, secretId?: string): AppError {
  const options = { rule, suspicious, ...(secretId === undefined ? {} : { resource: { name: secretId } }) };
  return new AppError('unauthenticated', 'the webhook has no valid signature', options);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The signed parts; undefined if one is missing or malformed. A header that was sent twice is malformed. */
function parseMessage(headers: WebhookInput['headers'], body: Uint8Array): SignedMessage | undefined {
  const id = match(headers['webhook-id'], /^[A-Za-z0-9_-]{1,64}$/);
  const timestamp = match(headers['webhook-timestamp'], /^[1-9]\d{0,11}$/);
  const signature = match(headers['webhook-signature'], /^[\x21-\x7e ]{1,1024}$/);
  const text = decode(body);
  if (id === undefined || timestamp === undefined || signature === undefined || text === undefined) return undefined;
  return { id, timestampSeconds: Number(timestamp), body: text };
}

function match(value: string | string[] | undefined, pattern: RegExp): string | undefined {
  return typeof value === 'string' && pattern.test(value) ? value : undefined;
}

// The signature is over text. Bytes that are not UTF-8 would be replaced, so that several bodies have one signature.
function decode(body: Uint8Array): string | undefined {
  try {
    return utf8.decode(body);
  } catch {
    return undefined;
  }
}

/** Compares with as many keys as there can be, so that the time does not tell how many secrets there are. */
async function findSigner(
  ctx: Pick<VaultContext, 'db' | 'deks'>,
  message: SignedMessage,
  signatures: string,
): Promise<{ hasSecret: boolean; secretId: string | undefined }> {
  // Without a secret there is nothing to open. The answer while kek-service is sealed must not tell that.
  await requireUnsealed(ctx);
  const keys = await openWebhookKeys(ctx);
  const fillers = Array.from({ length: WEBHOOK_SECRETS_MAX - keys.length }, () => ({ key: randomKey() }));
  const all: { secretId?: string; key: Uint8Array }[] = [...keys, ...fillers];
  const signers = all.filter(({ key }) => isSignedBy(key, message, signatures));
  for (const { key } of all) key.fill(0);
  return { hasSecret: keys.length > 0, secretId: signers[0]?.secretId };
}
