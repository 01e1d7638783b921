import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import type { DuePage } from '../../sweep.ts';
import type { KeyRow } from '../key-store.ts';

/** A key whose rotation or destruction is due. */
export interface DueKey {
  at: number;
  id: string;
}

/** Keys whose next version is due, of vaults that exist. A deleted key gets none. */
export async function listKeysToRotate(db: Db, { now, after, limit }: DuePage<DueKey>): Promise<DueKey[]> {
  return db.query<DueKey>(
    `select rotate_at as at, id
       from vault_key
      where rotate_at <= $1
        and (rotate_at, id) > ($2, $3)
        and delete_at is null
        and (select v.id from vault v where v.id = vault_key.vault_id) is not null
      order by rotate_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

/** Deleted keys whose time is over, of vaults that exist. */
export async function listKeysToDestroy(db: Db, { now, after, limit }: DuePage<DueKey>): Promise<DueKey[]> {
  return db.query<DueKey>(
    `select delete_at as at, id
       from vault_key
      where delete_at <= $1
        and (delete_at, id) > ($2, $3)
        and (select v.id from vault v where v.id = vault_key.vault_id) is not null
      order by delete_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

/** What the schedule needs to know of a key. */
export type ScheduledKey = Pick<KeyRow, 'id' | 'vault_id' | 'name' | 'algorithm'> & { vault_name: string };

/** A key by its id. Undefined if the key or its vault does not exist any more. */
export async function findScheduledKey(db: Queryable, id: string): Promise<ScheduledKey | undefined> {
  const [row] = await db.query<ScheduledKey>(
    `select k.id, k.vault_id, k.name, k.algorithm, v.name as vault_name
       from vault_key k
       join vault v on v.id = k.vault_id
      where k.id = $1`,
    [id],
  );
  return row;
}

/** Deletes a key with its versions and its counts. */
export async function removeKey(tx: Transaction, id: string): Promise<void> {
  await tx.query(`delete from key_use where key_id = $1`, [id]);
  await tx.query(`delete from key_version where key_id = $1`, [id]);
  await tx.query(`delete from vault_key where id = $1`, [id]);
}
