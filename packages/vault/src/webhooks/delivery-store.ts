import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';

export type DeliveryState = 'waiting' | 'delivered' | 'dead';

export interface DeliveryRow {
  id: string;
  endpoint: string;
  kind: string;
  state: DeliveryState;
  attempts: number;
  next_attempt_at: number | null;
  last_failure: string | null;
  created_at: number;
  ended_at: number | null;
}

/** A delivery whose next attempt is due. */
export interface DueDelivery {
  id: string;
  kind: string;
  body: string;
  attempts: number;
  give_up_at: number;
}

/** Sorts after every id. */
const LAST_ID = 'z';

/** A delivery that is due at once. */
export interface NewDelivery {
  id: string;
  endpoint: string;
  kind: string;
  body: string;
  giveUpAt: number;
  createdAt: number;
}

/** Inserts deliveries in one statement. */
export async function insertDeliveries(
  tx: Transaction,
  engine: Db['engine'],
  deliveries: NewDelivery[],
): Promise<void> {
  const rows = deliveries.map((one) => [one.id, one.endpoint, one.kind, one.body, one.giveUpAt, one.createdAt]);
  await tx.query(
    `insert into webhook_delivery (id, endpoint, kind, body, state, attempts, next_attempt_at, give_up_at, created_at)
     select value ->> 0, value ->> 1, value ->> 2, value ->> 3, 'waiting', 0, cast(value ->> 5 as bigint),
            cast(value ->> 4 as bigint), cast(value ->> 5 as bigint)
       from ${jsonRows(engine, '$1')}`,
    [JSON.stringify(rows)],
  );
}

// The receivers that deliveries wait for, and null at the end: one lookup in the index for each, however many deliveries
// wait. Neither engine does so by itself.
const AWAITED = `with recursive awaited (endpoint) as (
       select min(endpoint)
         from webhook_delivery
        where next_attempt_at is not null
        union all
       select (select min(d.endpoint)
                 from webhook_delivery d
                where d.next_attempt_at is not null
                  and d.endpoint > awaited.endpoint)
         from awaited
        where awaited.endpoint is not null)`;

/** The delivery to a receiver that has been due for the longest. */
export async function findDueDelivery(
  db: Queryable,
  { endpoint, now }: { endpoint: string; now: number },
): Promise<DueDelivery | undefined> {
  const [row] = await db.query<DueDelivery>(
    `select id, kind, body, attempts, give_up_at
       from webhook_delivery
      where endpoint = $1
        and next_attempt_at <= $2
      order by next_attempt_at, id
      limit 1`,
    [endpoint, now],
  );
  return row;
}

/** Since when the oldest delivery has been due, in milliseconds since 1970. Undefined if none is due. */
export async function findOldestDelivery(db: Queryable, now: number): Promise<number | undefined> {
  const [row] = await db.query<{ at: number | null }>(
    `${AWAITED}
     select min((select min(d.next_attempt_at)
                   from webhook_delivery d
                  where d.endpoint = awaited.endpoint
                    and d.next_attempt_at <= $1)) as at
       from awaited`,
    [now],
  );
  return row?.at ?? undefined;
}

/** Counts an attempt and sets when the next one is due. Returns false if another process has counted it. */
export async function claimDelivery(
  tx: Transaction,
  { id, attempts, nextAttemptAt }: { id: string; attempts: number; nextAttemptAt: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update webhook_delivery
        set attempts = attempts + 1,
            next_attempt_at = $3
      where id = $1
        and attempts = $2
        and state = 'waiting'
     returning id`,
    [id, attempts, nextAttemptAt],
  );
  return rows.length === 1;
}

/** Sets when a claimed delivery is tried again. Does nothing if it was claimed again. */
export async function postponeDelivery(
  tx: Transaction,
  { id, attempts, nextAttemptAt, failure }: { id: string; attempts: number; nextAttemptAt: number; failure: string },
): Promise<void> {
  await tx.query(
    `update webhook_delivery
        set next_attempt_at = $3,
            last_failure = $4
      where id = $1
        and attempts = $2
        and state = 'waiting'`,
    [id, attempts, nextAttemptAt, failure],
  );
}

/** Ends a delivery after `attempts` attempts. Returns false if it has ended or was claimed again. */
export async function endDelivery(
  tx: Transaction,
  end: { id: string; attempts: number; state: 'delivered' | 'dead'; failure: string | null; at: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update webhook_delivery
        set state = $3,
            next_attempt_at = null,
            last_failure = $4,
            ended_at = $5
      where id = $1
        and attempts = $2
        and state = 'waiting'
     returning id`,
    [end.id, end.attempts, end.state, end.failure, end.at],
  );
  return rows.length === 1;
}

/** Makes a dead delivery wait again, as if it were new. Returns false if it is not dead. */
export async function reviveDelivery(
  tx: Transaction,
  { id, at, giveUpAt }: { id: string; at: number; giveUpAt: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update webhook_delivery
        set state = 'waiting',
            attempts = 0,
            next_attempt_at = $2,
            give_up_at = $3,
            ended_at = null
      where id = $1
        and state = 'dead'
     returning id`,
    [id, at, giveUpAt],
  );
  return rows.length === 1;
}

export async function findDelivery(db: Queryable, id: string): Promise<DeliveryRow | undefined> {
  const [row] = await db.query<DeliveryRow>(
    `select id, endpoint, kind, state, attempts, next_attempt_at, last_failure, created_at, ended_at
       from webhook_delivery
      where id = $1`,
    [id],
  );
  return row;
}

/** Deliveries older than the id `before` ('' for all), the newest first. */
export async function listDeliveryRows(
  db: Queryable,
  { state, before, limit }: { state: DeliveryState | undefined; before: string; limit: number },
): Promise<DeliveryRow[]> {
  const from = before === '' ? LAST_ID : before;
  return state === undefined
    ? db.query<DeliveryRow>(
        `select id, endpoint, kind, state, attempts, next_attempt_at, last_failure, created_at, ended_at
           from webhook_delivery
          where id < $1
          order by id desc
          limit $2`,
        [from, limit],
      )
    : db.query<DeliveryRow>(
        `select id, endpoint, kind, state, attempts, next_attempt_at, last_failure, created_at, ended_at
           from webhook_delivery
          where state = $1
            and id < $2
          order by id desc
          limit $3`,
        [state, from, limit],
      );
}

/** The receivers that deliveries wait for. */
export async function listAwaitedEndpoints(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ endpoint: string }>(
    `${AWAITED}
     select endpoint
       from awaited
      where endpoint is not null`,
  );
  return rows.map(({ endpoint }) => endpoint);
}

/** Deliveries to a receiver whose time is over although they wait. */
export async function listOverdueDeliveries(
  db: Queryable,
  { endpoint, now, limit }: { endpoint: string; now: number; limit: number },
): Promise<DueDelivery[]> {
  return db.query<DueDelivery>(
    `select id, kind, body, attempts, give_up_at
       from webhook_delivery
      where endpoint = $1
        and next_attempt_at is not null
        and give_up_at <= $2
      order by give_up_at, id
      limit $3`,
    [endpoint, now, limit],
  );
}

/** Deletes at most `limit` deliveries that ended in this state before a time. Returns how many. */
export async function removeDeliveriesBefore(
  tx: Transaction,
  { state, before, limit }: { state: 'delivered' | 'dead'; before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from webhook_delivery
      where id in (select id
                     from webhook_delivery
                    where ended_at < $1
                      and state = $2
                    order by ended_at
                    limit $3)
     returning id`,
    [before, state, limit],
  );
  return rows.length;
}
