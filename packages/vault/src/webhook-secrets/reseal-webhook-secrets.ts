import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, OlderRow } from '../deks/resealable.ts';
import { systemResealable } from '../deks/system-sealing.ts';
import { WEBHOOK_SECRET_KIND } from './webhook-secrets.ts';

/** The secrets that sign the webhook for KEK rotations, under the DEKs of the system. */
export const webhookSecrets = systemResealable(WEBHOOK_SECRET_KIND, {
  listOlder: listSecretsUnderOlderDeks,
  countOlder: countSecretsUnderOlderDeks,
  isUsed: isSecretUnder,
  replaceCiphertext: replaceSecretCiphertext,
});

async function listSecretsUnderOlderDeks(
  db: Queryable,
  dekVersion: number,
  { after, limit }: OlderPage,
): Promise<OlderRow[]> {
  return db.query<OlderRow>(
    `select dek_version, id, 0 as version, ciphertext, null as name
       from webhook_secret
      where dek_version < $1
        and (dek_version, id) > ($2, $3)
      order by dek_version, id
      limit $4`,
    [dekVersion, after.dek_version, after.id, limit],
  );
}

async function countSecretsUnderOlderDeks(db: Queryable, dekVersion: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*) as n from webhook_secret where dek_version < $1`, [
    dekVersion,
  ]);
  return row!.n;
}

async function isSecretUnder(tx: Transaction, dekVersion: number): Promise<boolean> {
  const rows = await tx.query(`select id from webhook_secret where dek_version = $1 limit 1`, [dekVersion]);
  return rows.length > 0;
}

async function replaceSecretCiphertext(
  tx: Transaction,
  { id, from, to, dekVersion }: { id: string; from: Uint8Array; to: Uint8Array; dekVersion: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update webhook_secret
        set ciphertext = $3,
            dek_version = $4
      where id = $1
        and ciphertext = $2
     returning id`,
    [id, from, to, dekVersion],
  );
  return rows.length === 1;
}
