import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';

export async function findVault(db: Queryable, id: string): Promise<VaultRow | undefined> {
  const [row] = await db.query<VaultRow>(
    `select id, name, description, max_versions, public_jwks, created_at
       from vault
      where id = $1`,
    [id],
  );
  return row;
}

/** A vault whose public keys everybody may read. Undefined for any other name. */
export async function findVaultWithPublicJwks(
  db: Queryable,
  name: string,
): Promise<Pick<VaultRow, 'id' | 'name'> | undefined> {
  const [row] = await db.query<Pick<VaultRow, 'id' | 'name'>>(
    `select id, name
       from vault
      where name = $1
        and public_jwks = 1`,
    [name],
  );
  return row;
}

/** Vaults after a name, by name. */
export async function listVaultRows(
  db: Queryable,
  { after, limit }: { after: string; limit: number },
): Promise<VaultRow[]> {
  return db.query<VaultRow>(
    `select id, name, description, max_versions, public_jwks, created_at
       from vault
      where name > $1
      order by name
      limit $2`,
    [after, limit],
  );
}

export async function insertVault(tx: Transaction, vault: VaultRow & { created_by: string }): Promise<void> {
  await tx.query(
    `insert into vault (id, name, description, max_versions, public_jwks, created_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      vault.id,
      vault.name,
      vault.description,
      vault.max_versions,
      vault.public_jwks,
      vault.created_at,
      vault.created_by,
    ],
  );
}

/**
 * The fields of a vault that can be changed; undefined leaves a field as it is. The name cannot be changed, because
 * every ciphertext in the vault is bound to it (I3). In the transaction that changes the row, a rename would have to
 * open each version of each secret, also in the trash, and seal it again under the new name, as a move does. The same
 * holds for the material of keys. A rename would also have to decide about references to the old name.
 */
export interface VaultChange {
  description?: string | null | undefined;
  maxVersions?: number | null | undefined;
  publicJwks?: boolean | undefined;
}

/** Changes the given fields of a vault; undefined if it does not exist. */
export async function updateVault(
  tx: Transaction,
  { id, description = null, maxVersions = null, publicJwks }: { id: string } & VaultChange,
): Promise<VaultRow | undefined> {
  const [row] = await tx.query<VaultRow>(
    `update vault
        set description = coalesce($2, description),
            max_versions = coalesce($3, max_versions),
            public_jwks = coalesce($4, public_jwks)
      where id = $1
     returning id, name, description, max_versions, public_jwks, created_at`,
    [id, description, maxVersions, publicJwks === undefined ? null : Number(publicJwks)],
  );
  return row;
}

/** Vaults from this id on, by id. */
export async function listVaultsFrom(
  db: Queryable,
  { id, limit }: { id: string; limit: number },
): Promise<{ id: string; name: string }[]> {
  return db.query<{ id: string; name: string }>(`select id, name from vault where id >= $1 order by id limit $2`, [
    id,
    limit,
  ]);
}
