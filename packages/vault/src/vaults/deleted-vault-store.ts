import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';

/** Deletes a vault with its grants. Keeps its id until its other rows are deleted. Undefined if it does not exist. */
export async function removeVault(
  tx: Transaction,
  { id, at }: { id: string; at: number },
): Promise<Pick<VaultRow, 'description' | 'max_versions' | 'public_jwks'> | undefined> {
  const [row] = await tx.query<Pick<VaultRow, 'description' | 'max_versions' | 'public_jwks'>>(
    `delete from vault where id = $1 returning description, max_versions, public_jwks`,
    [id],
  );
  if (row) await tx.query(`insert into deleted_vault (id, deleted_at) values ($1, $2)`, [id, at]);
  return row;
}

/** How many secrets a vault holds, in the trash or not. Counts at most `limit`. */
export async function countSecrets(
  tx: Transaction,
  { vaultId, limit }: { vaultId: string; limit: number },
): Promise<number> {
  const [row] = await tx.query<{ n: number }>(
    `select count(*) as n
       from (select id
               from secret
              where vault_id = $1
              limit $2) as held`,
    [vaultId, limit],
  );
  return row!.n;
}

/** How many keys a vault holds. Counts at most `limit`. */
export async function countKeys(
  tx: Transaction,
  { vaultId, limit }: { vaultId: string; limit: number },
): Promise<number> {
  const [row] = await tx.query<{ n: number }>(
    `select count(*) as n from (select id from vault_key where vault_id = $1 limit $2) as held`,
    [vaultId, limit],
  );
  return row!.n;
}

/** Whether a vault holds a key that cannot be deleted. */
export async function hasProtectedKey(tx: Transaction, vaultId: string): Promise<boolean> {
  const rows = await tx.query(`select id from vault_key where vault_id = $1 and deletion_protection = 1 limit 1`, [
    vaultId,
  ]);
  return rows.length > 0;
}

/** Deleted vaults that may still have rows, the oldest first. */
export async function listDeletedVaults(db: Queryable, limit: number): Promise<string[]> {
  const rows = await db.query<{ id: string }>(`select id from deleted_vault order by deleted_at, id limit $1`, [limit]);
  return rows.map(({ id }) => id);
}

/** When the first of the deleted vaults that may still have rows was deleted. Undefined if there is none. */
export async function findOldestDeletedVault(db: Queryable): Promise<number | undefined> {
  const [row] = await db.query<{ at: number | null }>(`select min(deleted_at) as at from deleted_vault`);
  return row?.at ?? undefined;
}

/** Forgets a deleted vault that has no rows left. */
export async function forgetDeletedVault(tx: Transaction, id: string): Promise<void> {
  await tx.query(`delete from deleted_vault where id = $1`, [id]);
}
