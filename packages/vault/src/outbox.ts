import { maySubmit } from '@cardea/contracts/audit-actions';
import { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog, AuditRoom } from '@cardea/contracts/audited';
import type { JobRun } from '@cardea/jobs/queue';
import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { jsonRows } from '@cardea/storage/json-rows';
import type { Outbox } from './context.ts';

/** Rows younger than this belong to a request that still waits for its own append. */
const RELAY_AFTER_MS = 10_000;
const RELAY_PAGE = 256;
/** How many events are kept in memory while neither the audit log nor the database answers. */
const KEPT_MAX = 1_000;

export function createOutbox(db: Db): Outbox {
  let acknowledged: string[] = [];
  let kept: AuditEvent[] = [];
  let dropped = 0;
  let flushing = Promise.resolve();

  async function deleteAcknowledged(): Promise<void> {
    const ids = acknowledged;
    if (ids.length === 0) return;
    acknowledged = [];
    await deleteRows(db, db.engine, ids);
  }

  async function addKept(): Promise<void> {
    const events = kept;
    if (events.length === 0) return;
    await db.lockingTransaction({}, async (tx) => {
      // The answer to an earlier attempt may have been lost after its commit.
      await deleteRows(
        tx,
        db.engine,
        events.map(({ id }) => id),
      );
      await addToOutbox(tx, db.engine, events);
    });
    kept = kept.slice(events.length);
  }

  return {
    acknowledge: (id) => void acknowledged.push(id),
    // Once there are so many, later ones are dropped: the log lines of their calls remain, and say so.
    keep(events) {
      const all = [...kept, ...events];
      kept = all.slice(0, KEPT_MAX);
      dropped += all.length - kept.length;
      return dropped;
    },
    flush() {
      // Flushes run one after the other: a flush before closing must not resolve before the timer's flush is done.
      // What cannot be added must not keep rows that the log has.
      const added = flushing.then(addKept);
      const flushed = added
        .catch(() => undefined)
        .then(deleteAcknowledged)
        .then(() => added);
      flushing = flushed.catch(() => undefined);
      return flushed;
    },
  };
}

/** Writes events in the same transaction as the change that they record (I2). */
export async function addToOutbox(tx: Transaction, engine: Db['engine'], events: AuditEvent[]): Promise<void> {
  const rows: [string, string, number][] = [];
  for (const event of events) {
    await pauseIfLong();
    refuseForeign(event);
    // An event that the log would refuse fails here, and its change with it.
    rows.push([event.id, JSON.stringify(AuditEvent.parse(event)), Date.parse(event.ts)]);
  }
  // Not waited for: the commit goes with it, and commits only what has not failed.
  void tx.query(
    `insert into outbox (id, event, created_at)
     select value ->> 0, value ->> 1, cast(value ->> 2 as bigint)
       from ${jsonRows(engine, '$1')}`,
    [JSON.stringify(rows)],
  );
}

// Either api-service or a worker may send what is in the outbox.
function refuseForeign(event: AuditEvent): void {
  if (!maySubmit('api-service', event) || !maySubmit('worker', event)) {
    throw new TypeError(`${event.action} cannot be recorded through the outbox`);
  }
}

/** Sends the events that a crash left behind, oldest first, with the same ids: the log takes each id only once. */
export async function relayOutbox(ctx: { db: Db; audit: AuditLog; now(): Date }, run: JobRun): Promise<void> {
  const before = ctx.now().getTime() - RELAY_AFTER_MS;
  for (;;) {
    const rows = await listUnsent(ctx.db, { before, limit: RELAY_PAGE });
    const room = await ctx.audit.reserve?.(rows.length);
    const outcomes = await Promise.allSettled(rows.map(async (row) => appendRow(ctx.audit, row, room)));
    room?.release();
    const delivered = rows.filter((_row, index) => outcomes[index]!.status === 'fulfilled');
    await deleteRows(
      ctx.db,
      ctx.db.engine,
      delivered.map((row) => row.id),
    );
    run.done(delivered.length);
    // An event that could not be delivered stays, and does not stop the others. The job fails, so that the error shows.
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
    if (rows.length < RELAY_PAGE) return;
    run.signal.throwIfAborted();
  }
}

/** Events that were written before a time and are not acknowledged, the oldest first. */
export async function listUnsent(
  db: Queryable,
  { before, limit }: { before: number; limit: number },
): Promise<{ id: string; event: string }[]> {
  return db.query<{ id: string; event: string }>(
    `select id, event
       from outbox
      where created_at < $1
      order by created_at, id
      limit $2`,
    [before, limit],
  );
}

/** Since when the oldest event has been waiting to be sent again, in milliseconds since 1970. Undefined if none waits. */
export async function findOldestUnsent({ db, now }: { db: Db; now(): Date }): Promise<number | undefined> {
  const [row] = await db.query<{ created_at: number | null }>(`select min(created_at) as created_at from outbox`);
  const due = (row?.created_at ?? Infinity) + RELAY_AFTER_MS;
  return due <= now().getTime() ? due : undefined;
}

/** Whether the record of a committed change has not reached the log, even if it is only on its way. */
export async function isRecordWaiting(db: Db): Promise<boolean> {
  return (await db.query(`select 1 as waits from outbox limit 1`)).length > 0;
}

async function appendRow(audit: AuditLog, row: { event: string }, room: AuditRoom | undefined): Promise<void> {
  await audit.append(AuditEvent.parse(JSON.parse(row.event)), room);
}

async function deleteRows(db: Queryable, engine: Db['engine'], ids: string[]): Promise<void> {
  await db.query(
    `delete from outbox
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [JSON.stringify(ids.map((id) => [id]))],
  );
}
