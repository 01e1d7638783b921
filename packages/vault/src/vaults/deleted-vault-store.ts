import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';

/** Removes a vault with its grants, and keeps its id until the rest is removed; undefined if it is gone already. */
export async function removeVault(
  tx: Transaction,
  { id, at }: { id: string; at: number },
): Promise<Pick<VaultRow, 'description' | 'max_versions'> | undefined> {
  const [row] = await tx.query<Pick<VaultRow, 'description' | 'max_versions'>>(
    `delete from vault where id = $1 returning description, max_versions`,
    [id],
  );
  if (row) await tx.query(`insert into deleted_vault (id, deleted_at) values ($1, $2)`, [id, at]);
  return row;
}

/** How many secrets a vault holds, in the trash or not; no more than `limit` are counted. */
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

/** Vaults that are deleted and of which something may be left, the oldest first. */
export async function listDeletedVaults(db: Queryable, limit: number): Promise<string[]> {
  const rows = await db.query<{ id: string }>(`select id from deleted_vault order by deleted_at, id limit $1`, [limit]);
  return rows.map(({ id }) => id);
}

/** Forgets a deleted vault: nothing of it is left. */
export async function forgetDeletedVault(tx: Transaction, id: string): Promise<void> {
  await tx.query(`delete from deleted_vault where id = $1`, [id]);
}
