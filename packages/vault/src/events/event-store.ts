import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';

export interface EventRow {
  id: string;
  kind: string;
  /** JSON. */
  payload: string;
  created_at: number;
}

/** Sorts after every id. */
const LAST_ID = 'z';

export interface EventQuery {
  vaultId: string;
  kind: string | undefined;
  /** Lists events older than this id; '' for the newest. */
  before: string;
  limit: number;
}

/** Events of a vault, the newest first. */
export async function listEventRows(db: Queryable, { vaultId, kind, before, limit }: EventQuery): Promise<EventRow[]> {
  const from = before === '' ? LAST_ID : before;
  return kind === undefined
    ? db.query<EventRow>(
        `select id, kind, payload, created_at
           from event
          where vault_id = $1
            and id < $2
          order by id desc
          limit $3`,
        [vaultId, from, limit],
      )
    : db.query<EventRow>(
        `select id, kind, payload, created_at
           from event
          where vault_id = $1
            and kind = $2
            and id < $3
          order by id desc
          limit $4`,
        [vaultId, kind, from, limit],
      );
}

/** Inserts events in one statement. */
export async function insertEvents(
  tx: Transaction,
  engine: Db['engine'],
  events: (EventRow & { vault_id: string })[],
): Promise<void> {
  const rows = events.map(({ id, vault_id, kind, payload, created_at }) => [id, vault_id, kind, payload, created_at]);
  await tx.query(
    `insert into event (id, vault_id, kind, payload, created_at)
     select value ->> 0, value ->> 1, value ->> 2, value ->> 3, cast(value ->> 4 as bigint)
       from ${jsonRows(engine, '$1')}`,
    [JSON.stringify(rows)],
  );
}

/** Deletes at most `limit` events older than `before`, the oldest first. Returns how many. */
export async function removeEventsBefore(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from event
      where id in (select id
                     from event
                    where created_at < $1
                    order by created_at
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}

/** Deletes at most `limit` events of a vault after the id `after`. Returns the last id; undefined if there was none. */
export async function removeEventsOf(
  tx: Transaction,
  { vaultId, after, limit }: { vaultId: string; after: string; limit: number },
): Promise<string | undefined> {
  const rows = await tx.query<{ id: string }>(
    `delete from event
      where id in (select id
                     from event
                    where vault_id = $1
                      and id > $2
                    order by id
                    limit $3)
     returning id`,
    [vaultId, after, limit],
  );
  return rows
    .map(({ id }) => id)
    .toSorted()
    .at(-1);
}
