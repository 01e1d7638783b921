import type { Queryable, Transaction } from '@cardea/storage/db';

/** The kind of a DEK that could not be unwrapped. Every other kind is that of a `Resealable`. */
export const DEK_KIND = 'dek';

/** A row that a rotation could not open. */
export interface UnopenedRow {
  kind: string;
  vault_id: string;
  /** The id of the secret, the user or the key; of a DEK the id of its vault. */
  id: string;
  /** The version of the secret or of the DEK; 0 for a row without versions. */
  version: number;
  /** Null for a DEK. */
  dek_version: number | null;
  name: string | null;
  reason: string;
  rotation_id: string;
  found_at: number;
}

type Key = Pick<UnopenedRow, 'kind' | 'vault_id' | 'id' | 'version'>;

/** Notes that a rotation has met a row that is noted already. Returns false if the row is not noted. */
export async function meetUnopened(
  tx: Transaction,
  { kind, vault_id, id, version }: Key,
  rotationId: string,
): Promise<boolean> {
  const rows = await tx.query(
    `update unopened_row
        set rotation_id = $5
      where kind = $1
        and vault_id = $2
        and id = $3
        and version = $4
     returning id`,
    [kind, vault_id, id, version, rotationId],
  );
  return rows.length > 0;
}

/** Notes a row. Returns false if another run has noted it. */
export async function insertUnopened(tx: Transaction, row: UnopenedRow): Promise<boolean> {
  const { kind, vault_id, id, version, dek_version, name, reason, rotation_id, found_at } = row;
  const rows = await tx.query(
    `insert into unopened_row (kind, vault_id, id, version, dek_version, name, reason, rotation_id, found_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict do nothing
     returning id`,
    [kind, vault_id, id, version, dek_version, name, reason, rotation_id, found_at],
  );
  return rows.length > 0;
}

/** All rows of a vault that are noted, DEKs left out. */
export async function listUnopenedOf(db: Queryable, vaultId: string): Promise<Key[]> {
  return db.query<Key>(
    `select kind, vault_id, id, version
       from unopened_row
      where vault_id = $1
        and kind <> 'dek'`,
    [vaultId],
  );
}

/** Forgets a row that opens again, or no longer exists. */
export async function forgetUnopened(tx: Transaction, { kind, vault_id, id, version }: Key): Promise<void> {
  await tx.query(
    `delete from unopened_row
      where kind = $1
        and vault_id = $2
        and id = $3
        and version = $4`,
    [kind, vault_id, id, version],
  );
}

/** A row, with the name of its vault; null for the system, and for a vault that is deleted. */
export type NamedUnopenedRow = UnopenedRow & { vault_name: string | null };

/** The rows that a rotation met last, the oldest first. */
export async function listUnopenedIn(db: Queryable, rotationId: string, limit: number): Promise<NamedUnopenedRow[]> {
  return db.query<NamedUnopenedRow>(
    `select u.kind, u.vault_id, u.id, u.version, u.dek_version, u.name, u.reason, u.rotation_id, u.found_at,
            v.name as vault_name
       from unopened_row u
       left join vault v on v.id = u.vault_id
      where u.rotation_id = $1
      order by u.found_at, u.id, u.version
      limit $2`,
    [rotationId, limit],
  );
}

/** Forgets the rows of a deleted vault; see `ClearVault`. There are few, so they are one page. */
export async function clearUnopened(tx: Transaction, { vaultId }: { vaultId: string }): Promise<undefined> {
  await tx.query(`delete from unopened_row where vault_id = $1`, [vaultId]);
}

/** Forgets the DEKs that `kekVersion` wraps now, or that are destroyed. */
export async function forgetRewrapped(tx: Transaction, kekVersion: number): Promise<void> {
  await tx.query(
    `delete from unopened_row
      where kind = 'dek'
        and not exists (select 1
                          from dek d
                         where d.vault_id = unopened_row.vault_id
                           and d.version = unopened_row.version
                           and d.wrapped is not null
                           and d.kek_version < $1)`,
    [kekVersion],
  );
}
