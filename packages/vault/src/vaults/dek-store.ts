import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import type { Queryable, Transaction } from '@cardea/storage/db';

/** The newest DEK version of a vault; undefined for a vault without one. */
export async function findNewestDekVersion(db: Queryable, vaultId: string): Promise<number | undefined> {
  const [row] = await db.query<{ version: number }>(
    `select version
       from dek
      where vault_id = $1
      order by version desc
      limit 1`,
    [vaultId],
  );
  return row?.version;
}

export async function findWrappedDek(db: Queryable, ref: DekRef): Promise<WrappedDek | undefined> {
  const [row] = await db.query<{ wrapped: Uint8Array; kek_version: number }>(
    `select wrapped, kek_version
       from dek
      where vault_id = $1
        and version = $2`,
    [ref.vaultId, ref.dekVersion],
  );
  return row && { bytes: row.wrapped, kekVersion: row.kek_version };
}

export async function insertDek(tx: Transaction, ref: DekRef, wrapped: WrappedDek, createdAt: number): Promise<void> {
  await tx.query(
    `insert into dek (vault_id, version, wrapped, kek_version, created_at)
     values ($1, $2, $3, $4, $5)`,
    [ref.vaultId, ref.dekVersion, wrapped.bytes, wrapped.kekVersion, createdAt],
  );
}
