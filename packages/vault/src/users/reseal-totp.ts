import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, SealedRow } from '../deks/resealable.ts';
import { systemResealable } from '../deks/system-sealing.ts';
import { TOTP_KIND } from './totp.ts';

/** The TOTP secrets of users, confirmed or not, under the DEKs of the system. */
export const totpSecrets = systemResealable(TOTP_KIND, {
  listOlder: listTotpUnderOlderDeks,
  findCiphertext: findTotpUnder,
  replaceCiphertext: replaceTotpCiphertext,
});

async function listTotpUnderOlderDeks(
  db: Queryable,
  dekVersion: number,
  { after, limit }: OlderPage,
): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `select totp_dek_version as dek_version, id, 0 as version
       from app_user
      where totp_dek_version < $1
        and (totp_dek_version, id) > ($2, $3)
      order by totp_dek_version, id
      limit $4`,
    [dekVersion, after.dek_version, after.id, limit],
  );
}

async function findTotpUnder(tx: Transaction, { id, dek_version }: SealedRow): Promise<Uint8Array | undefined> {
  const [row] = await tx.query<{ totp_ciphertext: Uint8Array }>(
    `select totp_ciphertext
       from app_user
      where id = $1
        and totp_dek_version = $2`,
    [id, dek_version],
  );
  return row?.totp_ciphertext;
}

async function replaceTotpCiphertext(
  tx: Transaction,
  { id, from, to, dekVersion }: { id: string; from: Uint8Array; to: Uint8Array; dekVersion: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update app_user
        set totp_ciphertext = $3,
            totp_dek_version = $4
      where id = $1
        and totp_ciphertext = $2
     returning id`,
    [id, from, to, dekVersion],
  );
  return rows.length === 1;
}
