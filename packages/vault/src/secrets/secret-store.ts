import type { Queryable, Transaction } from '@cardea/storage/db';
import type { NameRange } from '../name-ranges.ts';

/** A secret without its versions. To change one, write a changed copy: `updateSecret(tx, { ...secret, metadata })`. */
export interface SecretRow {
  id: string;
  vault_id: string;
  name: string;
  /** The newest version; 0 if the secret has had none yet. */
  current_version: number;
  max_versions: number | null;
  /** A JSON object of strings. */
  metadata: string;
  expires_at: number | null;
  due_at: number | null;
  announce_at: number | null;
  /** 1 if at least one version is not in the trash. */
  live: 0 | 1;
  /** The last time a version was put into the trash, of those in it now. Null if none is in the trash. */
  trashed_at: number | null;
  created_at: number;
  updated_at: number;
}

const COLUMNS = `id, vault_id, name, current_version, max_versions, metadata, expires_at, due_at, announce_at,
            live, trashed_at, created_at, updated_at`;

const BY_NAME = `select ${COLUMNS}
       from secret
      where vault_id = $1
        and name = $2`;

/** A secret by its name, in the trash or not. */
export async function findSecret(
  db: Queryable,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow | undefined> {
  const [row] = await db.query<SecretRow>(BY_NAME, [vaultId, name]);
  return row;
}

/**
 * A secret by its name, in the trash or not, locked until the end of the transaction. A transaction that changes a
 * secret, its versions or its other rows locks it first: after that, the rest is as the transaction reads it.
 */
export async function lockSecret(
  tx: Transaction,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow | undefined> {
  const [row] = await tx.query<SecretRow>(`${BY_NAME} for update`, [vaultId, name]);
  return row;
}

/** A range of names of a vault. */
export interface Part {
  vaultId: string;
  range: NameRange;
  limit: number;
}

const LIVE_IN = `select ${COLUMNS}
       from secret
      where vault_id = $1
        and live = 1
        and name >= $2
        and name < $3
      order by name
      limit $4`;

const ALL_IN = `select ${COLUMNS}
       from secret
      where vault_id = $1
        and name >= $2
        and name < $3
      order by name
      limit $4`;

/** Secrets with at least one version outside the trash, in the order of their names. */
export async function listLiveSecretsIn(db: Queryable, { vaultId, range, limit }: Part): Promise<SecretRow[]> {
  return db.query<SecretRow>(LIVE_IN, [vaultId, range.from, range.to, limit]);
}

/** The same, locked; see `lockSecret`. */
export async function lockLiveSecretsIn(tx: Transaction, { vaultId, range, limit }: Part): Promise<SecretRow[]> {
  return tx.query<SecretRow>(`${LIVE_IN} for update`, [vaultId, range.from, range.to, limit]);
}

/** All secrets in the order of their names, including those in the trash and those without a version. */
export async function listSecretsIn(db: Queryable, { vaultId, range, limit }: Part): Promise<SecretRow[]> {
  return db.query<SecretRow>(ALL_IN, [vaultId, range.from, range.to, limit]);
}

/** The same, locked; see `lockSecret`. */
export async function lockSecretsIn(tx: Transaction, { vaultId, range, limit }: Part): Promise<SecretRow[]> {
  return tx.query<SecretRow>(`${ALL_IN} for update`, [vaultId, range.from, range.to, limit]);
}

/** Adds a secret, locked as by `lockSecret`. False if the name is taken. */
export async function insertSecret(tx: Transaction, secret: SecretRow & { created_by: string }): Promise<boolean> {
  const rows = await tx.query(
    `insert into secret (${COLUMNS}, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
     on conflict (vault_id, name) do nothing
     returning id`,
    [
      secret.id,
      secret.vault_id,
      secret.name,
      secret.current_version,
      secret.max_versions,
      secret.metadata,
      secret.expires_at,
      secret.due_at,
      secret.announce_at,
      secret.live,
      secret.trashed_at,
      secret.created_at,
      secret.updated_at,
      secret.created_by,
    ],
  );
  return rows.length === 1;
}

/** Writes the columns that a change may touch. Vault, name, and who created the secret and when stay as they are. */
export async function updateSecret(tx: Transaction, secret: SecretRow): Promise<void> {
  await tx.query(
    `update secret
        set current_version = $2,
            max_versions = $3,
            metadata = $4,
            expires_at = $5,
            due_at = $6,
            announce_at = $7,
            live = $8,
            trashed_at = $9,
            updated_at = $10
      where id = $1`,
    [
      secret.id,
      secret.current_version,
      secret.max_versions,
      secret.metadata,
      secret.expires_at,
      secret.due_at,
      secret.announce_at,
      secret.live,
      secret.trashed_at,
      secret.updated_at,
    ],
  );
}

/** Removes a secret with all its versions, and all rows that refer to them. */
export async function removeSecret(tx: Transaction, id: string): Promise<void> {
  await tx.query(`delete from secret_version where secret_id = $1`, [id]);
  await tx.query(`delete from secret where id = $1`, [id]);
}
