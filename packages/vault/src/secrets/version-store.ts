import type { Queryable, Transaction } from '@cardea/storage/db';
import type { SecretRow } from './secret-store.ts';

export interface VersionRow {
  secret_id: string;
  version: number;
  /** Null if the value was destroyed. */
  ciphertext: Uint8Array | null;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
  expires_at: number | null;
  created_at: number;
  /** Null if the version is not in the trash. */
  deleted_at: number | null;
}

export async function findVersion(
  db: Queryable,
  { secretId, version }: { secretId: string; version: number },
): Promise<VersionRow | undefined> {
  const [row] = await db.query<VersionRow>(
    `select secret_id, version, ciphertext, encoding, content_type, expires_at, created_at, deleted_at
       from secret_version
      where secret_id = $1
        and version = $2`,
    [secretId, version],
  );
  return row;
}

/** The DEK that seals the next version of a secret, and its newest version, if it has one. */
export type BeforeWrite = {
  dek_version: number;
  first_used_at: number | null;
  /** How many restored versions are over the limit of versions once there is another one. */
  restored: number;
} & (VersionRow | { version: null });

/** What a write reads beside the secret itself, in one statement. Undefined if the vault has no DEK. */
export async function findBeforeWrite(
  tx: Transaction,
  { vaultId, name, maxVersions }: { vaultId: string; name: string; maxVersions: number },
): Promise<BeforeWrite | undefined> {
  const [row] = await tx.query<BeforeWrite>(
    `select d.version as dek_version, d.first_used_at,
            (select count(*)
               from secret_version r
              where r.secret_id = s.id
                and r.version <= s.current_version + 1 - coalesce(s.max_versions, $3)
                and r.deleted_at is null
                and r.restored_at is not null) as restored,
            v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type, v.expires_at, v.created_at, v.deleted_at
       from (select version, first_used_at
               from dek
              where vault_id = $1
                and state = 'active'
              order by version desc
              limit 1) as d
       left join secret s on s.vault_id = $1 and s.name = $2
       left join secret_version v on v.secret_id = s.id and v.version = s.current_version`,
    [vaultId, name, maxVersions],
  );
  return row;
}

/** A version with the metadata and the expiry of its secret. */
export type ReadableRow = VersionRow & Pick<SecretRow, 'metadata'> & { secret_expires_at: number | null };

/** A secret without the version that was asked for. */
export type MissingVersion = Pick<SecretRow, 'current_version'> & { version: null };

/** One version of a secret; the newest if `version` is null. One statement, because every read begins with it. */
export async function findReadable(
  db: Queryable,
  { vaultId, name, version }: { vaultId: string; name: string; version: number | null },
): Promise<ReadableRow | MissingVersion | undefined> {
  const [row] = await db.query<ReadableRow | MissingVersion>(
    `select v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type, v.expires_at, v.created_at, v.deleted_at,
            s.current_version, s.metadata, s.expires_at as secret_expires_at
       from secret s
       left join secret_version v on v.secret_id = s.id and v.version = coalesce($3, s.current_version)
      where s.vault_id = $1
        and s.name = $2`,
    [vaultId, name, version],
  );
  return row;
}

export interface NewVersion {
  secretId: string;
  /** The vault of the secret. Stored here too, because a rotation looks for the versions of a vault. */
  vaultId: string;
  version: number;
  ciphertext: Uint8Array;
  /** The version of the DEK that seals the value. */
  dekVersion: number;
  encoding: 'utf8' | 'base64';
  contentType: string | null;
  expiresAt: number | null;
  createdAt: number;
  createdBy: string;
}

export async function insertVersion(tx: Transaction, row: NewVersion): Promise<void> {
  await tx.query(
    `insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, content_type,
                                 expires_at, created_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      row.secretId,
      row.vaultId,
      row.version,
      row.ciphertext,
      row.dekVersion,
      row.encoding,
      row.contentType,
      row.expiresAt,
      row.createdAt,
      row.createdBy,
    ],
  );
}

export async function setVersionExpiry(
  tx: Transaction,
  { secretId, version, expiresAt }: { secretId: string; version: number; expiresAt: number | null },
): Promise<void> {
  await tx.query(`update secret_version set expires_at = $3 where secret_id = $1 and version = $2`, [
    secretId,
    version,
    expiresAt,
  ]);
}

/**
 * Moves the expiry of a secret to its versions, so that the next version starts without one.
 * Versions that expire sooner keep their own expiry.
 */
export async function moveExpiryToVersions(
  tx: Transaction,
  { id, expiresAt }: { id: string; expiresAt: number },
): Promise<void> {
  await tx.query(
    `update secret_version
        set expires_at = $2
      where secret_id = $1
        and coalesce(expires_at, $2) >= $2`,
    [id, expiresAt],
  );
  await tx.query(`update secret set expires_at = null where id = $1`, [id]);
}

/** Destroys a value. The row stays and says who destroyed it and when. False if the version has no value. */
export async function destroyVersion(
  tx: Transaction,
  { secretId, version, at, by }: { secretId: string; version: number; at: number; by: string },
): Promise<boolean> {
  const rows = await tx.query(
    `update secret_version
        set ciphertext = null,
            dek_version = null,
            destroyed_at = $3,
            destroyed_by = $4
      where secret_id = $1
        and version = $2
        and ciphertext is not null
     returning version`,
    [secretId, version, at, by],
  );
  return rows.length === 1;
}

/** Removes the versions up to `through` that are not in the trash. Returns those that still had a value, in order. */
export async function removeVersions(
  tx: Transaction,
  { secretId, through }: { secretId: string; through: number },
): Promise<number[]> {
  const rows = await tx.query<{ version: number; had_value: number }>(
    `delete from secret_version
      where secret_id = $1
        and version <= $2
        and deleted_at is null
     returning version, case when ciphertext is null then 0 else 1 end as had_value`,
    [secretId, through],
  );
  return rows
    .filter((row) => row.had_value === 1)
    .map((row) => row.version)
    .toSorted((a, b) => a - b);
}
