import type { Queryable, Transaction } from '@cardea/storage/db';
import type { NameRange } from '../name-ranges.ts';

export interface SecretRow {
  id: string;
  vault_id: string;
  name: string;
  current_version: number;
  max_versions: number | null;
  /** JSON object of strings. */
  metadata: string;
  expires_at: number | null;
  due_at: number | null;
  announce_at: number | null;
  trashed_through: number;
  trashed_at: number | null;
  trashed_by: string | null;
  live: 0 | 1;
  created_at: number;
  updated_at: number;
}

/** A secret by its name, in the trash or not. */
export async function findSecret(
  db: Queryable,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow | undefined> {
  const [row] = await db.query<SecretRow>(
    `select id, vault_id, name, current_version, max_versions, metadata, expires_at, due_at, announce_at,
            trashed_through, trashed_at, trashed_by, live, created_at, updated_at
       from secret
      where vault_id = $1
        and name = $2`,
    [vaultId, name],
  );
  return row;
}

/** Secrets of a vault that are not in the trash, by name. */
export async function listLiveSecretsIn(
  db: Queryable,
  { vaultId, range, limit }: { vaultId: string; range: NameRange; limit: number },
): Promise<SecretRow[]> {
  return db.query<SecretRow>(
    `select id, vault_id, name, current_version, max_versions, metadata, expires_at, due_at, announce_at,
            trashed_through, trashed_at, trashed_by, live, created_at, updated_at
       from secret
      where vault_id = $1
        and live = 1
        and name >= $2
        and name < $3
      order by name
      limit $4`,
    [vaultId, range.from, range.to, limit],
  );
}

export interface VersionRow {
  secret_id: string;
  version: number;
  /** Null once it is destroyed. */
  ciphertext: Uint8Array | null;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
  expires_at: number | null;
  created_at: number;
}

export async function findVersion(
  db: Queryable,
  { secretId, version }: { secretId: string; version: number },
): Promise<VersionRow | undefined> {
  const [row] = await db.query<VersionRow>(
    `select secret_id, version, ciphertext, encoding, content_type, expires_at, created_at
       from secret_version
      where secret_id = $1
        and version = $2`,
    [secretId, version],
  );
  return row;
}

/** A version with what its secret says of it. */
export type ReadableRow = VersionRow &
  Pick<SecretRow, 'trashed_through' | 'metadata'> & { secret_expires_at: number | null };

/** One version of a secret, the newest if `version` is null, in one statement: every read begins with it. */
export async function findReadable(
  db: Queryable,
  { vaultId, name, version }: { vaultId: string; name: string; version: number | null },
): Promise<ReadableRow | undefined> {
  const [row] = await db.query<ReadableRow>(
    `select v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type, v.expires_at, v.created_at,
            s.trashed_through, s.metadata, s.expires_at as secret_expires_at
       from secret s
       join secret_version v on v.secret_id = s.id
      where s.vault_id = $1
        and s.name = $2
        and v.version = coalesce($3, s.current_version)`,
    [vaultId, name, version],
  );
  return row;
}

/** What a change of a secret writes; `id` says which. */
export interface SecretState {
  id: string;
  currentVersion: number;
  maxVersions: number | null;
  metadata: string;
  expiresAt: number | null;
  dueAt: number | null;
  announceAt: number | null;
  trashedThrough: number;
  trashedAt: number | null;
  trashedBy: string | null;
  updatedAt: number;
}

export interface NewSecret extends SecretState {
  vaultId: string;
  name: string;
  createdBy: string;
}

/** @throws UniqueViolation if the name is taken */
export async function insertSecret(tx: Transaction, secret: NewSecret): Promise<void> {
  await tx.query(
    `insert into secret (id, vault_id, name, current_version, max_versions, metadata, expires_at, due_at, announce_at,
                         trashed_through, trashed_at, trashed_by, live, created_at, created_by, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $14)`,
    [
      secret.id,
      secret.vaultId,
      secret.name,
      secret.currentVersion,
      secret.maxVersions,
      secret.metadata,
      secret.expiresAt,
      secret.dueAt,
      secret.announceAt,
      secret.trashedThrough,
      secret.trashedAt,
      secret.trashedBy,
      isLive(secret),
      secret.updatedAt,
      secret.createdBy,
    ],
  );
}

export async function updateSecret(tx: Transaction, secret: SecretState): Promise<void> {
  await tx.query(
    `update secret
        set current_version = $2,
            max_versions = $3,
            metadata = $4,
            expires_at = $5,
            due_at = $6,
            announce_at = $7,
            trashed_through = $8,
            trashed_at = $9,
            trashed_by = $10,
            live = $11,
            updated_at = $12
      where id = $1`,
    [
      secret.id,
      secret.currentVersion,
      secret.maxVersions,
      secret.metadata,
      secret.expiresAt,
      secret.dueAt,
      secret.announceAt,
      secret.trashedThrough,
      secret.trashedAt,
      secret.trashedBy,
      isLive(secret),
      secret.updatedAt,
    ],
  );
}

function isLive({ currentVersion, trashedThrough }: SecretState): 0 | 1 {
  return currentVersion > trashedThrough ? 1 : 0;
}

export interface NewVersion {
  secretId: string;
  /** Of the secret: a rotation looks for the versions of a vault. */
  vaultId: string;
  version: number;
  ciphertext: Uint8Array;
  /** Of the DEK it is sealed under. */
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
 * Hands the end of a secret down to its versions, those that end sooner left as they are: from then on it is theirs,
 * and the next value begins without one.
 */
export async function handDownEnd(
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

/** Overwrites a value; the row stays and says who did it and when. False if there was none. */
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

/** Removes the versions after `after` and up to `through`; answers those that still had a value, in order. */
export async function removeVersions(
  tx: Transaction,
  { secretId, after = 0, through }: { secretId: string; after?: number; through: number },
): Promise<number[]> {
  const rows = await tx.query<{ version: number; had_value: number }>(
    `delete from secret_version
      where secret_id = $1
        and version > $2
        and version <= $3
     returning version, case when ciphertext is null then 0 else 1 end as had_value`,
    [secretId, after, through],
  );
  return rows
    .filter((row) => row.had_value === 1)
    .map((row) => row.version)
    .toSorted((a, b) => a - b);
}

/** Removes a secret with all its versions, and whatever hangs on it. */
export async function removeSecret(tx: Transaction, id: string): Promise<void> {
  await tx.query(`delete from secret_version where secret_id = $1`, [id]);
  await tx.query(`delete from secret where id = $1`, [id]);
}

/** Notes that a name is free again, and how far its versions have counted. */
export async function giveUpName(
  tx: Transaction,
  { vaultId, name, version }: { vaultId: string; name: string; version: number },
): Promise<void> {
  await tx.query(
    `insert into given_up_name (vault_id, name, version)
     values ($1, $2, $3)
     on conflict (vault_id, name) do update
        set version = case when excluded.version > given_up_name.version then excluded.version
                           else given_up_name.version end`,
    [vaultId, name, version],
  );
}

/** The last version that a name has had whose secrets are gone; 0 if it never had one. */
export async function findLastVersion(
  db: Queryable,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<number> {
  const [row] = await db.query<{ version: number }>(
    `select version
       from given_up_name
      where vault_id = $1
        and name = $2`,
    [vaultId, name],
  );
  return row?.version ?? 0;
}
