import type { Queryable } from '@cardea/storage/db';

export interface ListedVersion {
  version: number;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
  expires_at: number | null;
  created_at: number;
  created_by: string;
  deleted_at: number | null;
  destroyed_at: number | null;
  destroyed_by: string | null;
  last_read_at: number | null;
  last_read_by: string | null;
}

/** Versions with a lower number than `before`, the newest first. */
export async function listVersionRows(
  db: Queryable,
  { secretId, before, limit }: { secretId: string; before: number; limit: number },
): Promise<ListedVersion[]> {
  return db.query<ListedVersion>(
    `select version, encoding, content_type, expires_at, created_at, created_by,
            deleted_at, destroyed_at, destroyed_by, last_read_at, last_read_by
       from secret_version
      where secret_id = $1
        and version < $2
      order by version desc
      limit $3`,
    [secretId, before, limit],
  );
}
