import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, OlderRow } from '../deks/resealable.ts';
import { systemResealable } from '../deks/system-sealing.ts';
import { SIGNING_KEY_KIND } from './signing-keys.ts';

/** The keys of tokens, under the DEKs of the system. */
export const signingKeys = systemResealable(SIGNING_KEY_KIND, {
  listOlder: listKeysUnderOlderDeks,
  countOlder: countKeysUnderOlderDeks,
  isUsed: isKeyUnder,
  replaceCiphertext: replaceKeyCiphertext,
});

async function listKeysUnderOlderDeks(
  db: Queryable,
  dekVersion: number,
  { after, limit }: OlderPage,
): Promise<OlderRow[]> {
  return db.query<OlderRow>(
    `select dek_version, id, 0 as version, ciphertext, null as name
       from signing_key
      where dek_version < $1
        and (dek_version, id) > ($2, $3)
      order by dek_version, id
      limit $4`,
    [dekVersion, after.dek_version, after.id, limit],
  );
}

async function countKeysUnderOlderDeks(db: Queryable, dekVersion: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*) as n from signing_key where dek_version < $1`, [
    dekVersion,
  ]);
  return row!.n;
}

async function isKeyUnder(tx: Transaction, dekVersion: number): Promise<boolean> {
  const rows = await tx.query(`select id from signing_key where dek_version = $1 limit 1`, [dekVersion]);
  return rows.length > 0;
}

async function replaceKeyCiphertext(
  tx: Transaction,
  { id, from, to, dekVersion }: { id: string; from: Uint8Array; to: Uint8Array; dekVersion: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update signing_key
        set ciphertext = $3,
            dek_version = $4
      where id = $1
        and ciphertext = $2
     returning id`,
    [id, from, to, dekVersion],
  );
  return rows.length === 1;
}
