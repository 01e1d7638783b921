import type { Queryable, Transaction } from '@cardea/storage/db';

/** Stores that a name is free again, with the last version it has had. Does nothing if it has had none. */
export async function giveUpName(
  tx: Transaction,
  { vaultId, name, version }: { vaultId: string; name: string; version: number },
): Promise<void> {
  if (version === 0) return;
  await tx.query(
    `insert into given_up_name (vault_id, name, version)
     values ($1, $2, $3)
     on conflict (vault_id, name) do update
        set version = case when excluded.version > given_up_name.version then excluded.version
                           else given_up_name.version end`,
    [vaultId, name, version],
  );
}

/** The last version of the purged or moved secrets of a name; 0 if there was none. */
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
