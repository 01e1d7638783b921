import type { DekRef } from '@cardea/contracts/kek-api';
import { IntegrityError } from '@cardea/crypto/envelope';
import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { replaceEach } from '../deks/resealable.ts';
import type { OlderPage, OlderRow, Resealable, Resealed } from '../deks/resealable.ts';
import { resealKeyMaterial } from './key-sealing.ts';

/** A version under an older DEK, with what it is bound to. Null if somebody deleted the row of the key or of the vault. */
type OlderKeyVersion = OlderRow & {
  algorithm: KeyAlgorithm | null;
  exportable: 0 | 1 | null;
  derivation: KeyDerivation | null;
  vault_name: string | null;
};

/** The material of keys, under the DEKs of their vaults. */
export const keyVersions: Resealable<OlderKeyVersion> = {
  kind: 'key-version',
  listOlder: listKeyVersionsUnderOlderDeks,
  countOlder: countKeyVersionsUnderOlderDeks,
  isUsed: isKeyVersionUnder,
  reseal(
    ctx,
    { id: keyId, version, name, algorithm, exportable, derivation, vault_name: vaultName, ciphertext },
    { vaultId, dekVersion },
  ) {
    if (name === null || algorithm === null || exportable === null || vaultName === null) {
      throw new IntegrityError('the key or the vault of the row does not exist');
    }
    const id = { vault: { id: vaultId, name: vaultName }, name, keyId, version, algorithm, exportable, derivation };
    return resealKeyMaterial(ctx, id, { ciphertext, dekVersion });
  },
  replace: (_ctx, tx, page, { dekVersion }) => replaceEach(page, (row) => replaceMaterial(tx, { ...row, dekVersion })),
};

async function listKeyVersionsUnderOlderDeks(
  db: Queryable,
  { vaultId, dekVersion }: DekRef,
  { after, limit }: OlderPage,
): Promise<OlderKeyVersion[]> {
  return db.query<OlderKeyVersion>(
    `select v.dek_version, v.key_id as id, v.version, v.ciphertext, k.name, k.algorithm, k.exportable, k.derivation,
            u.name as vault_name
       from key_version v
       left join vault_key k on k.id = v.key_id
       left join vault u on u.id = v.vault_id
      where v.vault_id = $1
        and v.dek_version < $2
        and (v.dek_version, v.key_id, v.version) > ($3, $4, $5)
      order by v.dek_version, v.key_id, v.version
      limit $6`,
    [vaultId, dekVersion, after.dek_version, after.id, after.version, limit],
  );
}

async function countKeyVersionsUnderOlderDeks(db: Queryable, { vaultId, dekVersion }: DekRef): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from key_version
      where vault_id = $1
        and dek_version < $2`,
    [vaultId, dekVersion],
  );
  return row!.n;
}

async function isKeyVersionUnder(tx: Transaction, { vaultId, dekVersion }: DekRef): Promise<boolean> {
  const rows = await tx.query(
    `select version
       from key_version
      where vault_id = $1
        and dek_version = $2
      limit 1`,
    [vaultId, dekVersion],
  );
  return rows.length > 0;
}

async function replaceMaterial(tx: Transaction, row: Resealed & { dekVersion: number }): Promise<boolean> {
  const rows = await tx.query(
    `update key_version
        set ciphertext = $4,
            dek_version = $5
      where key_id = $1
        and version = $2
        and ciphertext = $3
     returning version`,
    [row.id, row.version, row.from, row.to, row.dekVersion],
  );
  return rows.length === 1;
}
