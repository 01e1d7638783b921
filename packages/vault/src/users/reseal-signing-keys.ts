import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, SealedRow } from '../deks/resealable.ts';
import { systemResealable } from '../deks/system-sealing.ts';
import { SIGNING_KEY_KIND } from './signing-keys.ts';

/** The keys of tokens, under the DEKs of the system. */
export const signingKeys = systemResealable(SIGNING_KEY_KIND, {
  listOlder: listKeysUnderOlderDeks,
  findCiphertext: findKeyUnder,
  replaceCiphertext: replaceKeyCiphertext,
});

async function listKeysUnderOlderDeks(
  db: Queryable,
  dekVersion: number,
  { after, limit }: OlderPage,
): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `select dek_version, id, 0 as version
       from signing_key
      where dek_version < $1
        and (dek_version, id) > ($2, $3)
      order by dek_version, id
      limit $4`,
    [dekVersion, after.dek_version, after.id, limit],
  );
}

async function findKeyUnder(tx: Transaction, { id, dek_version }: SealedRow): Promise<Uint8Array | undefined> {
  const [row] = await tx.query<{ ciphertext: Uint8Array }>(
    `select ciphertext
       from signing_key
      where id = $1
        and dek_version = $2`,
    [id, dek_version],
  );
  return row?.ciphertext;
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
