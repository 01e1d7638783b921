import type { Queryable, Transaction } from '@cardea/storage/db';

export interface VaultRow {
  id: string;
  name: string;
  description: string;
  created_at: number;
}

export interface GrantRow {
  owner: number;
}

/** The vault of a name, with what one principal was granted in it. */
export async function findVaultWithGrant(
  db: Queryable,
  name: string,
  principal: string,
): Promise<{ vault: VaultRow; grant: GrantRow | undefined } | undefined> {
  const [row] = await db.query<VaultRow & { owner: number | null }>(
    `select v.id, v.name, v.description, v.created_at, g.owner
       from vault v
       left join vault_grant g on g.vault_id = v.id and g.principal = $2
      where v.name = $1`,
    [name, principal],
  );
  if (!row) return undefined;
  const { owner, ...vault } = row;
  return { vault, grant: owner === null ? undefined : { owner } };
}

/** Vaults after `cursor` by name: all of them, or those in which `principal` was granted something. */
export async function listVaultRows(
  db: Queryable,
  { principal, cursor, limit }: { principal: string | null; cursor: string; limit: number },
): Promise<VaultRow[]> {
  return db.query<VaultRow>(
    `select v.id, v.name, v.description, v.created_at
       from vault v
      where v.name > $1
        and (cast($2 as text) is null
             or exists (select 1 from vault_grant g where g.vault_id = v.id and g.principal = $2))
      order by v.name
      limit $3`,
    [cursor, principal, limit],
  );
}

export async function insertVault(tx: Transaction, vault: VaultRow & { created_by: string }): Promise<void> {
  await tx.query(
    `insert into vault (id, name, description, created_at, created_by)
     values ($1, $2, $3, $4, $5)`,
    [vault.id, vault.name, vault.description, vault.created_at, vault.created_by],
  );
}

export async function insertGrant(
  tx: Transaction,
  grant: { vaultId: string; principal: string; owner: number; createdAt: number; createdBy: string },
): Promise<void> {
  await tx.query(
    `insert into vault_grant (vault_id, principal, owner, created_at, created_by)
     values ($1, $2, $3, $4, $5)`,
    [grant.vaultId, grant.principal, grant.owner, grant.createdAt, grant.createdBy],
  );
}
