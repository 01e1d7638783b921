import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { NameRange } from '../name-ranges.ts';

/** A key without its versions. To change one, write a changed copy: `updateKey(tx, { ...key, current_version })`. */
export interface KeyRow {
  id: string;
  vault_id: string;
  name: string;
  algorithm: KeyAlgorithm;
  /** 1 if the key was made exportable: its material is bound to it. */
  exportable: 0 | 1;
  /** How it derives a key for each context. Null if it is used itself. The material is bound to it too. */
  derivation: KeyDerivation | null;
  /** 1 if the versions of the key are public keys that were imported. */
  public_only: 0 | 1;
  /** The newest version. */
  current_version: number;
  /** The oldest version that still encrypts and signs. */
  min_encrypt_version: number;
  /** The oldest version that still decrypts and verifies. */
  min_decrypt_version: number;
  /** 1 if the key cannot be deleted. */
  deletion_protection: 0 | 1;
  /** When it is destroyed. Null unless it was deleted: until then it does nothing, and can be restored. */
  delete_at: number | null;
  /** Null if the schedule makes no versions. */
  rotation_period_ms: number | null;
  /** When the schedule makes the next version. */
  rotate_at: number | null;
  created_at: number;
  updated_at: number;
}

/** The columns of a `KeyRow`. */
export const KEY_COLUMNS = `id, vault_id, name, algorithm, exportable, derivation, public_only, current_version, min_encrypt_version,
            min_decrypt_version, deletion_protection, delete_at, rotation_period_ms, rotate_at, created_at, updated_at`;

const BY_NAME = `select ${KEY_COLUMNS}
       from vault_key
      where vault_id = $1
        and name = $2`;

export async function findKey(
  db: Queryable,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<KeyRow | undefined> {
  const [row] = await db.query<KeyRow>(BY_NAME, [vaultId, name]);
  return row;
}

/** A key, locked until the end of the transaction. Whoever changes a key or its versions locks it first. */
export async function lockKey(
  tx: Transaction,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<KeyRow | undefined> {
  const [row] = await tx.query<KeyRow>(`${BY_NAME} for update`, [vaultId, name]);
  return row;
}

/** Keys of a vault in the order of their names. */
export async function listKeyRows(
  db: Queryable,
  { vaultId, range, limit }: { vaultId: string; range: NameRange; limit: number },
): Promise<KeyRow[]> {
  return db.query<KeyRow>(
    `select ${KEY_COLUMNS}
       from vault_key
      where vault_id = $1
        and name >= $2
        and name < $3
      order by name
      limit $4`,
    [vaultId, range.from, range.to, limit],
  );
}

/** Adds a key. False if the name is taken. */
export async function insertKey(tx: Transaction, key: KeyRow & { created_by: string }): Promise<boolean> {
  const rows = await tx.query(
    `insert into vault_key (${KEY_COLUMNS}, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
     on conflict (vault_id, name) do nothing
     returning id`,
    [
      key.id,
      key.vault_id,
      key.name,
      key.algorithm,
      key.exportable,
      key.derivation,
      key.public_only,
      key.current_version,
      key.min_encrypt_version,
      key.min_decrypt_version,
      key.deletion_protection,
      key.delete_at,
      key.rotation_period_ms,
      key.rotate_at,
      key.created_at,
      key.updated_at,
      key.created_by,
    ],
  );
  return rows.length === 1;
}

/** Makes another version the newest one. A worker does so too, which has the right to these columns only (grants.pg.sql). */
export async function setNewestVersion(
  tx: Transaction,
  key: Pick<KeyRow, 'id' | 'current_version' | 'rotate_at' | 'updated_at'>,
): Promise<void> {
  await tx.query(
    `update vault_key
        set current_version = $2,
            rotate_at = $3,
            updated_at = $4
      where id = $1`,
    [key.id, key.current_version, key.rotate_at, key.updated_at],
  );
}

/** Writes the fields of a key that can change. */
export async function updateKey(tx: Transaction, key: KeyRow): Promise<void> {
  await tx.query(
    `update vault_key
        set current_version = $2,
            min_encrypt_version = $3,
            min_decrypt_version = $4,
            deletion_protection = $5,
            delete_at = $6,
            rotation_period_ms = $7,
            rotate_at = $8,
            updated_at = $9
      where id = $1`,
    [
      key.id,
      key.current_version,
      key.min_encrypt_version,
      key.min_decrypt_version,
      key.deletion_protection,
      key.delete_at,
      key.rotation_period_ms,
      key.rotate_at,
      key.updated_at,
    ],
  );
}
