import type { Queryable, Transaction } from '@cardea/storage/db';

export interface SecretVersionRow {
  secret_id: string;
  current_version: number;
  version: number;
  ciphertext: Uint8Array;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
  created_at: number;
}

/** One version of a secret, the current one if `version` is null. */
export async function findSecretVersion(
  db: Queryable,
  { vaultId, name, version }: { vaultId: string; name: string; version: number | null },
): Promise<SecretVersionRow | undefined> {
  const [row] = await db.query<SecretVersionRow>(
    `select s.id as secret_id, s.current_version, v.version, v.ciphertext, v.encoding, v.content_type, v.created_at
       from secret s
       join secret_version v on v.secret_id = s.id
      where s.vault_id = $1
        and s.name = $2
        and v.version = coalesce($3, s.current_version)`,
    [vaultId, name, version],
  );
  return row;
}

export interface SecretRow {
  name: string;
  current_version: number;
  created_at: number;
  updated_at: number;
}

/** Secrets after `cursor` by name, of those that begin with `prefix`, and of those that `pathPrefix` covers if it is given. */
export async function listSecretRows(
  db: Queryable,
  query: { vaultId: string; prefix: string; pathPrefix: string | null; cursor: string; limit: number },
): Promise<SecretRow[]> {
  const { vaultId, prefix, pathPrefix, cursor, limit } = query;
  return db.query<SecretRow>(
    `select name, current_version, created_at, updated_at
       from secret
      where vault_id = $1
        and name > $2
        and name >= $3
        and name < $4
        and (cast($5 as text) is null or name = $5 or (name >= $6 and name < $7))
      order by name
      limit $8`,
    [
      vaultId,
      cursor,
      // Names are ASCII below `~`, so this is the end of a prefix's range on both engines.
      prefix,
      `${prefix}~`,
      pathPrefix,
      `${pathPrefix}/`,
      `${pathPrefix}/~`,
      limit,
    ],
  );
}

export async function insertSecret(
  tx: Transaction,
  secret: { id: string; vaultId: string; name: string; createdAt: number },
): Promise<void> {
  await tx.query(
    `insert into secret (id, vault_id, name, current_version, created_at, updated_at)
     values ($1, $2, $3, 1, $4, $4)`,
    [secret.id, secret.vaultId, secret.name, secret.createdAt],
  );
}

/** Moves the current version on by one, unless another writer has moved it since; then false. */
export async function advanceSecret(
  tx: Transaction,
  { id, from, updatedAt }: { id: string; from: number; updatedAt: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update secret
        set current_version = $2 + 1,
            updated_at = $3
      where id = $1
        and current_version = $2
     returning id`,
    [id, from, updatedAt],
  );
  return rows.length === 1;
}

export interface NewSecretVersion {
  secretId: string;
  version: number;
  ciphertext: Uint8Array;
  encoding: 'utf8' | 'base64';
  contentType: string | null;
  createdAt: number;
  createdBy: string;
}

export async function insertSecretVersion(tx: Transaction, row: NewSecretVersion): Promise<void> {
  await tx.query(
    `insert into secret_version (secret_id, version, ciphertext, encoding, content_type, created_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [row.secretId, row.version, row.ciphertext, row.encoding, row.contentType, row.createdAt, row.createdBy],
  );
}
