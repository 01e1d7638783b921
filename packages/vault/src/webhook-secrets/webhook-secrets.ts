import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { formatWebhookSecret } from '@cardea/crypto/webhook-signature';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeSealed } from '../deks/change-sealed.ts';
import { openForSystem, sealForSystem } from '../deks/system-sealing.ts';
import { audited, changed } from '../record.ts';
import {
  findSecretCiphertext,
  insertWebhookSecret,
  listWebhookSecretRows,
  removeWebhookSecret,
} from './webhook-secret-store.ts';
import type { WebhookSecretRow } from './webhook-secret-store.ts';

/** The kind of these secrets among the values that the system seals. */
export const WEBHOOK_SECRET_KIND = 'webhook-secret';

/** Two, so that a sender can change to a new secret without downtime. */
export const WEBHOOK_SECRETS_MAX = 2;

/** A secret that signs the webhook for KEK rotations, without the secret itself. */
export interface WebhookSecret {
  id: string;
  createdAt: Date;
  lastUsedAt?: Date;
}

/**
 * Makes a secret of 32 random bytes. The answer is the only one that shows it.
 * @throws AppError `access_denied` unless the caller is an admin; `conflict` if there are two already; `sealed`
 */
export async function createWebhookSecret(
  ctx: VaultContext,
  caller: Caller,
): Promise<Audited<WebhookSecret & { secret: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'webhook.manage');
  const key = randomKey();
  const made = changeSealed(ctx, caller, async (tx) => {
    if ((await listWebhookSecretRows(tx)).length >= WEBHOOK_SECRETS_MAX) throw tooManySecrets();
    const createdAt = ctx.now().getTime();
    const id = uuidv7(createdAt);
    const sealed = await sealForSystem(ctx, tx, { kind: WEBHOOK_SECRET_KIND, id }, key);
    await insertWebhookSecret(tx, { id, createdAt, ...sealed });
    const { dekVersion } = sealed;
    const changes = changesBetween({}, { id });
    const facts: EventFacts = { action: 'webhookSecret.create', rule, changes, resource: { name: id }, dekVersion };
    return { value: { id, createdAt: new Date(createdAt), secret: formatWebhookSecret(key) }, facts };
  });
  return made.finally(() => key.fill(0));
}

function tooManySecrets(): AppError {
  return new AppError('conflict', 'there are two secrets: delete one first', { rule: 'webhook-secrets-max' });
}

/** @throws AppError `access_denied` unless the caller is an admin */
export async function listWebhookSecrets(ctx: VaultContext, caller: Caller): Promise<Audited<WebhookSecret[]>> {
  const right = authorizeSystem(ctx, caller, 'webhook.manage');
  const secrets = (await listWebhookSecretRows(ctx.db)).map(toSecret);
  const resource = { count: secrets.length };
  return audited(ctx, caller, [right], { action: 'webhookSecret.list', rule: right.rule, resource }, () => secrets);
}

/** Deletes a secret. Webhooks that it signs are refused at once. @throws AppError `access_denied`, `not_found` */
export async function deleteWebhookSecret(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'webhook.manage');
  return changed(ctx, caller, async (tx) => {
    const removed = await removeWebhookSecret(tx, id);
    if (!removed) throw new AppError('not_found', 'no such secret of the webhook', { rule: 'no-such-webhook-secret' });
    const changes = changesBetween({ id }, {});
    return { value: undefined, facts: { action: 'webhookSecret.delete', rule, changes, resource: { name: id } } };
  });
}

/** The keys of all secrets, in new memory that the caller overwrites. @throws AppError `sealed`; IntegrityError */
export async function openWebhookKeys(
  ctx: Pick<VaultContext, 'db' | 'deks'>,
): Promise<{ secretId: string; key: Uint8Array }[]> {
  const rows = await listWebhookSecretRows(ctx.db);
  return Promise.all(
    rows.map(async ({ id, ciphertext }) => ({
      secretId: id,
      key: await openForSystem(
        ctx,
        { kind: WEBHOOK_SECRET_KIND, id },
        { ciphertext, reread: () => findSecretCiphertext(ctx.db, id) },
      ),
    })),
  );
}

function toSecret({ id, created_at: createdAt, last_used_at: lastUsedAt }: WebhookSecretRow): WebhookSecret {
  return {
    id,
    createdAt: new Date(createdAt),
    ...(lastUsedAt === null ? {} : { lastUsedAt: new Date(lastUsedAt) }),
  };
}
