import type { Queryable, Transaction } from '@cardea/storage/db';
import type { KeyOperation } from '../context.ts';

/** How many messages a version may have encrypted before the schedule makes the next: half of what SP 800-38D allows. */
export const MESSAGES_BEFORE_ROTATION = 2 ** 31;

/** Uses of a version on one day. */
export interface DayOfUses {
  keyId: string;
  version: number;
  operation: KeyOperation;
  day: number;
  count: number;
  /** The last of them, in milliseconds since 1970. */
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}

/**
 * Adds uses of a version, unless it does not exist any more. The newest version of a key with a bound of messages becomes
 * due for rotation once it comes near the bound.
 */
export async function addKeyUse(tx: Transaction, use: DayOfUses): Promise<void> {
  const { keyId, version, operation, day, count, at, by } = use;
  await tx.query(
    `insert into key_use (key_id, version, operation, day, uses, last_used_at, last_used_by)
     select key_id, version, $3, $4, $5, $6, $7
       from key_version
      where key_id = $1
        and version = $2
     on conflict (key_id, version, operation, day) do update
        set uses = key_use.uses + excluded.uses,
            last_used_at = excluded.last_used_at,
            last_used_by = excluded.last_used_by`,
    [keyId, version, operation, day, count, at, by],
  );
  if (operation !== 'encrypt') return;
  const [row] = await tx.query<{ encryptions: number }>(
    `update key_version
        set encryptions = encryptions + $3
      where key_id = $1
        and version = $2
     returning encryptions`,
    [keyId, version, count],
  );
  if (row && row.encryptions >= MESSAGES_BEFORE_ROTATION) await makeDue(tx, { keyId, version, at });
}

// Fernet has nonces of 128 bits and RSA none.
async function makeDue(
  tx: Transaction,
  { keyId, version, at }: { keyId: string; version: number; at: number },
): Promise<void> {
  await tx.query(
    `update vault_key
        set rotate_at = $3
      where id = $1
        and current_version = $2
        and algorithm in ('aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305')
        and (rotate_at is null or rotate_at > $3)`,
    [keyId, version, at],
  );
}

/** How often a version did something since a day, and when it did so last, whenever that was. */
export interface UsesRow {
  version: number;
  operation: KeyOperation;
  uses: number;
  last_used_at: number;
  last_used_by: string;
}

/** The uses of versions of a key since a day. An operation that was only done before has 0. */
export async function listKeyUses(
  db: Queryable,
  { keyId, versions, since }: { keyId: string; versions: { from: number; to: number }; since: number },
): Promise<UsesRow[]> {
  return db.query<UsesRow>(
    `select u.version, u.operation, u.last_used_at, u.last_used_by,
            (select cast(coalesce(sum(d.uses), 0) as bigint)
               from key_use d
              where d.key_id = u.key_id
                and d.version = u.version
                and d.operation = u.operation
                and d.day >= $4) as uses
       from key_use u
      where u.key_id = $1
        and u.version >= $2
        and u.version <= $3
        and not exists (select 1
                          from key_use n
                         where n.key_id = u.key_id
                           and n.version = u.version
                           and n.operation = u.operation
                           and n.day > u.day)
      order by u.version desc, u.operation`,
    [keyId, versions.from, versions.to, since],
  );
}

/** The last use of a key, whatever its version and operation. */
export async function findLastUse(
  db: Queryable,
  keyId: string,
): Promise<Pick<UsesRow, 'last_used_at' | 'last_used_by'> | undefined> {
  const [row] = await db.query<Pick<UsesRow, 'last_used_at' | 'last_used_by'>>(
    `select last_used_at, last_used_by
       from key_use
      where key_id = $1
      order by last_used_at desc
      limit 1`,
    [keyId],
  );
  return row;
}

/** Deletes counts of days before `day`, except the last of each operation of a version. */
export async function removeOldKeyUses(
  tx: Transaction,
  { day, limit }: { day: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from key_use
      where (key_id, version, operation, day) in (select o.key_id, o.version, o.operation, o.day
                                                    from key_use o
                                                   where o.day < $1
                                                     and exists (select 1
                                                                   from key_use n
                                                                  where n.key_id = o.key_id
                                                                    and n.version = o.version
                                                                    and n.operation = o.operation
                                                                    and n.day > o.day)
                                                   limit $2)
     returning day`,
    [day, limit],
  );
  return rows.length;
}
