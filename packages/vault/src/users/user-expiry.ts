import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import { nextAnnouncement } from '../announcements.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { addEvents } from '../events/events.ts';
import { changeDue } from '../sweep.ts';
import type { DuePage, DueWork } from '../sweep.ts';

/** A user whose expiry, or its announcement, is due. */
interface DueUser {
  at: number;
  id: string;
}

/** Tells the admins which users expire soon, once for each lead time that is reached. */
export const userAnnouncements: DueWork<DueUser> = {
  list: (ctx, page) => listToAnnounce(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const due = (await findUsers(tx, engine, items)).filter(
        (user) => user.announce_at !== null && user.announce_at <= now && user.expires_at > now,
      );
      await setAnnouncements(
        tx,
        engine,
        due.map((user) => [user.id, nextAnnouncement(ctx, user.expires_at, now)]),
      );
      await addEvents(
        ctx,
        tx,
        due.map((user) => eventOf(user, 'user.expiring', now)),
      );
      return due.map(({ username: user }) => ({ action: 'user.expiring', rule: 'expiry', resource: { user } }));
    });
  },
};

/** Disables expired users. Cardea refuses them from their expiry on; this only makes it visible. */
export const userExpiries: DueWork<DueUser> = {
  list: (ctx, page) => listExpired(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const expired = (await findUsers(tx, engine, items)).filter((user) => user.expires_at <= now);
      await disableUsers(tx, engine, { ids: expired.map(({ id }) => [id]), now });
      await addEvents(
        ctx,
        tx,
        expired.map((user) => eventOf(user, 'user.expired', now)),
      );
      const changes = changesBetween({ disabled: false }, { disabled: true });
      return expired.map(({ username: user }) => ({
        action: 'user.expire',
        rule: 'expiry',
        changes,
        resource: { user },
      }));
    });
  },
};

function eventOf<K extends 'user.expiring' | 'user.expired'>(
  { username, expires_at }: UserExpiry,
  kind: K,
  at: number,
) {
  const payload = { username, expiresAt: new Date(expires_at).toISOString() };
  return { vaultId: SYSTEM_VAULT_ID, kind, payload, at };
}

async function listToAnnounce(db: Db, { now, after, limit }: DuePage<DueUser>): Promise<DueUser[]> {
  return db.query<DueUser>(
    `select announce_at as at, id
       from app_user
      where disabled = 0
        and announce_at <= $1
        and (announce_at, id) > ($2, $3)
        and expires_at > $1
      order by announce_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

async function listExpired(db: Db, { now, after, limit }: DuePage<DueUser>): Promise<DueUser[]> {
  return db.query<DueUser>(
    `select expires_at as at, id
       from app_user
      where disabled = 0
        and expires_at <= $1
        and (expires_at, id) > ($2, $3)
      order by expires_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

interface UserExpiry {
  id: string;
  username: string;
  expires_at: number;
  announce_at: number | null;
}

/** The given users that are still enabled and have an expiry, the soonest expiry first. */
async function findUsers(tx: Transaction, engine: Db['engine'], users: DueUser[]): Promise<UserExpiry[]> {
  return tx.query<UserExpiry>(
    `select id, username, expires_at, announce_at
       from app_user
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and disabled = 0
        and expires_at is not null
      order by expires_at, id`,
    [JSON.stringify(users.map(({ id }) => [id]))],
  );
}

async function setAnnouncements(
  tx: Transaction,
  engine: Db['engine'],
  announcements: [id: string, announceAt: number | null][],
): Promise<void> {
  await tx.query(
    `update app_user
        set announce_at = next.announce_at
       from (select value ->> 0 as id, cast(value ->> 1 as bigint) as announce_at
               from ${jsonRows(engine, '$1')}) as next
      where app_user.id = next.id`,
    [JSON.stringify(announcements)],
  );
}

/** Disables users and ends their sessions, so that enabling a user does not revive them. */
async function disableUsers(
  tx: Transaction,
  engine: Db['engine'],
  { ids, now }: { ids: [string][]; now: number },
): Promise<void> {
  const listed = JSON.stringify(ids);
  await tx.query(
    `update app_user
        set disabled = 1,
            announce_at = null,
            updated_at = $2
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [listed, now],
  );
  await tx.query(
    `update session
        set ended_at = $2
      where user_id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and ended_at is null`,
    [listed, now],
  );
}
