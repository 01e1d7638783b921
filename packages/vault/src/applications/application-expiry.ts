import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import { nextAnnouncement } from '../announcements.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { addEvents } from '../events/events.ts';
import { changeDue } from '../sweep.ts';
import type { DuePage, DueWork } from '../sweep.ts';

/** An application whose expiry, or its announcement, is due. */
interface DueApplication {
  at: number;
  id: string;
}

/** Tells the admins which applications expire soon, once for each lead time that is reached. */
export const applicationAnnouncements: DueWork<DueApplication> = {
  list: (ctx, page) => listToAnnounce(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const due = (await findApplications(tx, engine, items)).filter(
        (one) => one.announce_at !== null && one.announce_at <= now && one.expires_at > now,
      );
      await setAnnouncements(
        tx,
        engine,
        due.map((one) => [one.id, nextAnnouncement(ctx, one.expires_at, now)]),
      );
      await addEvents(
        ctx,
        tx,
        due.map((one) => eventOf(one, 'application.expiring', now)),
      );
      return due.map(({ name: application }) => ({
        action: 'application.expiring',
        rule: 'expiry',
        resource: { application },
      }));
    });
  },
};

/** Disables expired applications. Cardea refuses them from their expiry on; this only makes it visible. */
export const applicationExpiries: DueWork<DueApplication> = {
  list: (ctx, page) => listExpired(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const expired = (await findApplications(tx, engine, items)).filter((one) => one.expires_at <= now);
      await disableApplications(
        tx,
        engine,
        expired.map(({ id }) => [id]),
      );
      await addEvents(
        ctx,
        tx,
        expired.map((one) => eventOf(one, 'application.expired', now)),
      );
      const changes = changesBetween({ disabled: false }, { disabled: true });
      return expired.map(({ name: application }) => ({
        action: 'application.expire',
        rule: 'expiry',
        changes,
        resource: { application },
      }));
    });
  },
};

function eventOf<K extends 'application.expiring' | 'application.expired'>(
  { name: application, expires_at }: ApplicationExpiry,
  kind: K,
  at: number,
) {
  const payload = { application, expiresAt: new Date(expires_at).toISOString() };
  return { vaultId: SYSTEM_VAULT_ID, kind, payload, at };
}

async function listToAnnounce(db: Db, { now, after, limit }: DuePage<DueApplication>): Promise<DueApplication[]> {
  return db.query<DueApplication>(
    `select announce_at as at, id
       from application
      where disabled = 0
        and announce_at <= $1
        and (announce_at, id) > ($2, $3)
        and expires_at > $1
      order by announce_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

async function listExpired(db: Db, { now, after, limit }: DuePage<DueApplication>): Promise<DueApplication[]> {
  return db.query<DueApplication>(
    `select expires_at as at, id
       from application
      where disabled = 0
        and expires_at <= $1
        and (expires_at, id) > ($2, $3)
      order by expires_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

interface ApplicationExpiry {
  id: string;
  name: string;
  expires_at: number;
  announce_at: number | null;
}

/** The given applications that are still enabled and have an expiry, the soonest expiry first. */
async function findApplications(
  tx: Transaction,
  engine: Db['engine'],
  applications: DueApplication[],
): Promise<ApplicationExpiry[]> {
  return tx.query<ApplicationExpiry>(
    `select id, name, expires_at, announce_at
       from application
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and disabled = 0
        and expires_at is not null
      order by expires_at, id`,
    [JSON.stringify(applications.map(({ id }) => [id]))],
  );
}

async function setAnnouncements(
  tx: Transaction,
  engine: Db['engine'],
  announcements: [id: string, announceAt: number | null][],
): Promise<void> {
  await tx.query(
    `update application
        set announce_at = next.announce_at
       from (select value ->> 0 as id, cast(value ->> 1 as bigint) as announce_at
               from ${jsonRows(engine, '$1')}) as next
      where application.id = next.id`,
    [JSON.stringify(announcements)],
  );
}

async function disableApplications(tx: Transaction, engine: Db['engine'], ids: [string][]): Promise<void> {
  await tx.query(
    `update application
        set disabled = 1,
            announce_at = null
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [JSON.stringify(ids)],
  );
}
