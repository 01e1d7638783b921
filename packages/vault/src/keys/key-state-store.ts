import type { Queryable } from '@cardea/storage/db';
import { KEY_COLUMNS } from './key-store.ts';
import type { KeyRow } from './key-store.ts';
import type { KeyVersionState } from './key-version-store.ts';

/** A key with its versions, the oldest first. */
export interface KeyWithVersions extends KeyRow {
  versions: { version: number; state: KeyVersionState }[];
}

/**
 * Keys of a vault after a name, in the order of their names. One statement, because the log has each change of a key and
 * its versions at one moment, and two statements could see the moments before and after.
 */
export async function listKeysWithVersions(
  db: Queryable,
  { vaultId, after, limit }: { vaultId: string; after: string; limit: number },
): Promise<KeyWithVersions[]> {
  const rows = await db.query<KeyRow & { version: number | null; state: KeyVersionState | null }>(
    `select k.*, v.version, v.state
       from (select ${KEY_COLUMNS}
               from vault_key
              where vault_id = $1
                and name > $2
              order by name
              limit $3) k
       left join key_version v on v.key_id = k.id
      order by k.name, v.version`,
    [vaultId, after, limit],
  );
  const keys = new Map<string, KeyWithVersions>();
  for (const { version, state, ...row } of rows) {
    const key = keys.get(row.name) ?? { ...row, versions: [] };
    keys.set(row.name, key);
    // Without a version, which only an edit by hand can bring about, the key is listed all the same.
    if (version !== null && state !== null) key.versions.push({ version, state });
  }
  return [...keys.values()];
}
