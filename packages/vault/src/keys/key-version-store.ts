import type { Queryable, Transaction } from '@cardea/storage/db';
import type { KeyRow } from './key-store.ts';

export type KeyVersionState = 'enabled' | 'disabled' | 'destroyed';

export interface KeyVersionRow {
  version: number;
  state: KeyVersionState;
  /** Null once the version is destroyed. */
  ciphertext: Uint8Array | null;
  created_at: number;
  created_by: string;
  destroyed_at: number | null;
  destroyed_by: string | null;
}

/** A version of a key, ready to use: what the rules ask, and the sealed material. */
export type KeyForUse = Pick<
  KeyRow,
  | 'id'
  | 'algorithm'
  | 'exportable'
  | 'derivation'
  | 'current_version'
  | 'min_encrypt_version'
  | 'min_decrypt_version'
  | 'delete_at'
> &
  Pick<KeyVersionRow, 'version' | 'state' | 'ciphertext'> & {
    /** How many messages it has encrypted, as far as they are counted. */
    encryptions: number;
  };

const COLUMNS = `version, state, ciphertext, created_at, created_by, destroyed_at, destroyed_by`;

/**
 * The newest version of a key, and another one if it exists. One statement, because every use begins with it, and so
 * that a version that does not exist takes no longer than one that does. Empty if the key does not exist.
 */
export async function findForUse(
  db: Queryable,
  { vaultId, name, version }: { vaultId: string; name: string; version: number },
): Promise<KeyForUse[]> {
  return db.query<KeyForUse>(
    `select k.id, k.algorithm, k.exportable, k.derivation, k.current_version, k.min_encrypt_version,
            k.min_decrypt_version, k.delete_at, v.version, v.state, v.ciphertext, v.encryptions
       from vault_key k
       join key_version v on v.key_id = k.id and v.version in (k.current_version, $3)
      where k.vault_id = $1
        and k.name = $2
      order by v.version desc`,
    [vaultId, name, version],
  );
}

/** Enabled versions of a key that still decrypt, the newest first. */
export async function listForDecryption(
  db: Queryable,
  { vaultId, name, limit }: { vaultId: string; name: string; limit: number },
): Promise<KeyForUse[]> {
  return db.query<KeyForUse>(
    `select k.id, k.algorithm, k.exportable, k.derivation, k.current_version, k.min_encrypt_version,
            k.min_decrypt_version, k.delete_at, v.version, v.state, v.ciphertext, v.encryptions
       from vault_key k
       join key_version v on v.key_id = k.id
      where k.vault_id = $1
        and k.name = $2
        and v.version >= k.min_decrypt_version
        and v.state = 'enabled'
      order by v.version desc
      limit $3`,
    [vaultId, name, limit],
  );
}

export async function findKeyVersion(
  db: Queryable,
  { keyId, version }: { keyId: string; version: number },
): Promise<KeyVersionRow | undefined> {
  const [row] = await db.query<KeyVersionRow>(
    `select ${COLUMNS}
       from key_version
      where key_id = $1
        and version = $2`,
    [keyId, version],
  );
  return row;
}

/** Versions with a lower number than `before`, the newest first. */
export async function listKeyVersionRows(
  db: Queryable,
  { keyId, before, limit }: { keyId: string; before: number; limit: number },
): Promise<KeyVersionRow[]> {
  return db.query<KeyVersionRow>(
    `select ${COLUMNS}
       from key_version
      where key_id = $1
        and version < $2
      order by version desc
      limit $3`,
    [keyId, before, limit],
  );
}

export interface NewKeyVersion {
  keyId: string;
  /** The vault of the key. Stored here too, because a rotation looks for the versions of a vault. */
  vaultId: string;
  version: number;
  ciphertext: Uint8Array;
  /** The version of the DEK that seals the material. */
  dekVersion: number;
  createdAt: number;
  createdBy: string;
}

/** Adds an enabled version. */
export async function insertKeyVersion(tx: Transaction, row: NewKeyVersion): Promise<void> {
  await tx.query(
    `insert into key_version (key_id, vault_id, version, state, ciphertext, dek_version, created_at, created_by)
     values ($1, $2, $3, 'enabled', $4, $5, $6, $7)`,
    [row.keyId, row.vaultId, row.version, row.ciphertext, row.dekVersion, row.createdAt, row.createdBy],
  );
}

/** Enables or disables a version that is not destroyed. */
export async function setKeyVersionState(
  tx: Transaction,
  { keyId, version, state }: { keyId: string; version: number; state: 'enabled' | 'disabled' },
): Promise<void> {
  await tx.query(
    `update key_version
        set state = $3
      where key_id = $1
        and version = $2
        and state <> 'destroyed'`,
    [keyId, version, state],
  );
}

/** Destroys the material of a version. The row stays and says who destroyed it and when. */
export async function destroyKeyVersion(
  tx: Transaction,
  { keyId, version, at, by }: { keyId: string; version: number; at: number; by: string },
): Promise<void> {
  await tx.query(
    `update key_version
        set state = 'destroyed',
            ciphertext = null,
            dek_version = null,
            destroyed_at = $3,
            destroyed_by = $4
      where key_id = $1
        and version = $2
        and state <> 'destroyed'`,
    [keyId, version, at, by],
  );
}
