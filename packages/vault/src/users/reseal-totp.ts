import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, OlderRow } from '../deks/resealable.ts';
import { systemResealable } from '../deks/system-sealing.ts';
import { TOTP_KIND } from './totp.ts';

/** The TOTP secrets of users, confirmed or not, under the DEKs of the system. */
export const totpSecrets = systemResealable(TOTP_KIND, {
  listOlder: listTotpUnderOlderDeks,
  countOlder: countTotpUnderOlderDeks,
  isUsed: isTotpUnder,
  replaceCiphertext: replaceTotpCiphertext,
});

async function listTotpUnderOlderDeks(
  db: Queryable,
  dekVersion: number,
  { after, limit }: OlderPage,
): Promise<OlderRow[]> {
  return db.query<OlderRow>(
    `select totp_dek_version as dek_version, id, 0 as version, totp_ciphertext as ciphertext, username as name
       from app_user
      where totp_dek_version < $1
        and (totp_dek_version, id) > ($2, $3)
      order by totp_dek_version, id
      limit $4`,
    [dekVersion, after.dek_version, after.id, limit],
  );
}

async function countTotpUnderOlderDeks(db: Queryable, dekVersion: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*) as n from app_user where totp_dek_version < $1`, [
    dekVersion,
  ]);
  return row!.n;
}

async function isTotpUnder(tx: Transaction, dekVersion: number): Promise<boolean> {
  const rows = await tx.query(`select id from app_user where totp_dek_version = $1 limit 1`, [dekVersion]);
  return rows.length > 0;
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
