import type { Db } from '@cardea/storage/db';
import type { MissingVersion, ReadableRow } from '../version-store.ts';

// `cross join` makes SQLite keep this order. Otherwise it would scan the whole vault and look up each name in the list.
const READABLE: Record<Db['engine'], string> = {
  sqlite: `select s.name, v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type, v.expires_at, v.created_at,
            v.deleted_at, s.current_version, s.metadata, s.expires_at as secret_expires_at
       from json_each($2) as asked
      cross join secret s on s.vault_id = $1 and s.name = asked.value
       left join secret_version v on v.secret_id = s.id and v.version = s.current_version`,
  postgres: `select s.name, v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type, v.expires_at, v.created_at,
            v.deleted_at, s.current_version, s.metadata, s.expires_at as secret_expires_at
       from json_array_elements_text($2::json) as asked (name)
       join secret s on s.vault_id = $1 and s.name = asked.name
       left join secret_version v on v.secret_id = s.id and v.version = s.current_version`,
};

/** The newest versions of secrets by name. One statement, so a batch written in one transaction is seen as a whole. */
export async function findAllReadable(
  db: Db,
  { vaultId, names }: { vaultId: string; names: string[] },
): Promise<Map<string, ReadableRow | MissingVersion>> {
  const asked = [vaultId, JSON.stringify(names)];
  const rows = await db.query<(ReadableRow | MissingVersion) & { name: string }>(READABLE[db.engine], asked);
  return new Map(rows.map((row) => [row.name, row]));
}
