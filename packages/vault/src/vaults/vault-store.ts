import type { Queryable, Transaction } from '@cardea/storage/db';

export interface VaultRow {
  id: string;
  name: string;
  description: string;
  created_at: number;
}

/** Vaults after `cursor` by name. */
export async function listVaultRows(
  db: Queryable,
  { cursor, limit }: { cursor: string; limit: number },
): Promise<VaultRow[]> {
  return db.query<VaultRow>(
    `select id, name, description, created_at
       from vault
      where name > $1
      order by name
      limit $2`,
    [cursor, limit],
  );
}

export async function insertVault(tx: Transaction, vault: VaultRow & { created_by: string }): Promise<void> {
  await tx.query(
    `insert into vault (id, name, description, created_at, created_by)
     values ($1, $2, $3, $4, $5)`,
    [vault.id, vault.name, vault.description, vault.created_at, vault.created_by],
  );
}
