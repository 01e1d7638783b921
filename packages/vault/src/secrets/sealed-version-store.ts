import type { Queryable, Transaction } from '@cardea/storage/db';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { OlderPage, SealedRow } from '../deks/resealable.ts';
import type { VersionRow } from './version-store.ts';

/** A sealed version. Has no ciphertext if the value was destroyed. */
export type SealedVersion = Pick<VersionRow, 'version' | 'ciphertext' | 'encoding' | 'content_type'>;

export async function listSealedVersions(tx: Transaction, secretId: string): Promise<SealedVersion[]> {
  return tx.query<SealedVersion>(
    `select version, ciphertext, encoding, content_type
       from secret_version
      where secret_id = $1
      order by version`,
    [secretId],
  );
}

/** Versions of a vault that are sealed under an older DEK than this one. */
export async function listVersionsUnderOlderDeks(
  db: Queryable,
  { vaultId, dekVersion }: DekRef,
  { after, limit }: OlderPage,
): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `select dek_version, secret_id as id, version
       from secret_version
      where vault_id = $1
        and dek_version < $2
        and (dek_version, secret_id, version) > ($3, $4, $5)
      order by dek_version, secret_id, version
      limit $6`,
    [vaultId, dekVersion, after.dek_version, after.id, after.version, limit],
  );
}

/** A sealed version with the vault and the name that it is bound to. */
export type NamedVersion = Pick<VersionRow, 'encoding' | 'content_type'> & {
  ciphertext: Uint8Array;
  name: string;
  vault_name: string;
};

/** A version of a vault, if it is sealed under this DEK. */
export async function findVersionUnder(
  tx: Transaction,
  dek: DekRef,
  { id: secretId, version }: SealedRow,
): Promise<NamedVersion | undefined> {
  const [row] = await tx.query<NamedVersion>(
    `select e.ciphertext, e.encoding, e.content_type, s.name, v.name as vault_name
       from secret_version e
       join secret s on s.id = e.secret_id
       join vault v on v.id = s.vault_id
      where e.secret_id = $1
        and e.version = $2
        and e.dek_version = $3
        and v.id = $4`,
    [secretId, version, dek.dekVersion, dek.vaultId],
  );
  return row;
}

/** Replaces the ciphertext `from` by `to`. Returns false and changes nothing if the row has another ciphertext. */
export async function replaceCiphertext(
  tx: Transaction,
  row: { secretId: string; version: number; from: Uint8Array; to: Uint8Array; dekVersion: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update secret_version
        set ciphertext = $4,
            dek_version = $5
      where secret_id = $1
        and version = $2
        and ciphertext = $3
     returning version`,
    [row.secretId, row.version, row.from, row.to, row.dekVersion],
  );
  return rows.length === 1;
}
