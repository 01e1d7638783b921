import type { Queryable, Transaction } from '@cardea/storage/db';

export interface WebhookSecretRow {
  id: string;
  ciphertext: Uint8Array;
  created_at: number;
  last_used_at: number | null;
}

/** All secrets of the webhook, the oldest first. There are at most two. */
export async function listWebhookSecretRows(db: Queryable): Promise<WebhookSecretRow[]> {
  return db.query<WebhookSecretRow>(
    `select id, ciphertext, created_at, last_used_at
       from webhook_secret
      order by id`,
  );
}

/** The sealed secret; undefined if it does not exist any more. */
export async function findSecretCiphertext(db: Queryable, id: string): Promise<Uint8Array | undefined> {
  const [row] = await db.query<{ ciphertext: Uint8Array }>(`select ciphertext from webhook_secret where id = $1`, [id]);
  return row?.ciphertext;
}

export async function insertWebhookSecret(
  tx: Transaction,
  secret: { id: string; ciphertext: Uint8Array; dekVersion: number; createdAt: number },
): Promise<void> {
  await tx.query(
    `insert into webhook_secret (id, ciphertext, dek_version, created_at)
     values ($1, $2, $3, $4)`,
    [secret.id, secret.ciphertext, secret.dekVersion, secret.createdAt],
  );
}

/** Deletes a secret; undefined if it does not exist. */
export async function removeWebhookSecret(
  tx: Transaction,
  id: string,
): Promise<Pick<WebhookSecretRow, 'created_at'> | undefined> {
  const [row] = await tx.query<Pick<WebhookSecretRow, 'created_at'>>(
    `delete from webhook_secret where id = $1 returning created_at`,
    [id],
  );
  return row;
}

/** Notes the use of a secret. Returns false if the secret does not exist any more. */
export async function noteSecretUse(tx: Transaction, { id, at }: { id: string; at: number }): Promise<boolean> {
  const rows = await tx.query(`update webhook_secret set last_used_at = $2 where id = $1 returning id`, [id, at]);
  return rows.length === 1;
}
