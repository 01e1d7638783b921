import type { JobRun } from '@cardea/jobs/queue';
import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import { nextAnnouncement } from '../announcements.ts';
import type { VaultContext } from '../context.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { addEvents } from '../events/events.ts';
import { changeDue, removePages } from '../sweep.ts';
import type { DuePage, DueWork } from '../sweep.ts';

/** Expired credentials are kept for this long: a client that still shows one is late, and does not guess. */
const REMEMBERED_MS = 7 * DAY_MS;

/** A credential whose expiry, or its announcement, is due. */
interface DueCredential {
  at: number;
  id: string;
}

/** Tells the admins which credentials expire soon, once for each lead time that is reached. */
export const credentialAnnouncements: DueWork<DueCredential> = {
  list: (ctx, page) => listToAnnounce(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const due = (await findCredentials(tx, engine, items)).filter(
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
        due.map((one) => eventOf(one, 'credential.expiring', now)),
      );
      return due.map((one) => ({ action: 'credential.expiring', rule: 'expiry', resource: resourceOf(one) }));
    });
  },
};

/** Records which credentials have expired. Cardea refuses them from their expiry on. */
export const credentialExpiries: DueWork<DueCredential> = {
  list: (ctx, page) => listExpired(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const expired = (await findCredentials(tx, engine, items)).filter((one) => one.expires_at <= now);
      await markExpired(tx, engine, { ids: expired.map(({ id }) => [id]), now });
      await addEvents(
        ctx,
        tx,
        expired.map((one) => eventOf(one, 'credential.expired', now)),
      );
      return expired.map((one) => ({ action: 'credential.expire', rule: 'expiry', resource: resourceOf(one) }));
    });
  },
};

/** Removes credentials that expired a week ago. */
export async function sweepExpiredCredentials(ctx: Pick<VaultContext, 'db' | 'now'>, run: JobRun): Promise<void> {
  const before = ctx.now().getTime() - REMEMBERED_MS;
  await removePages(ctx, run, (tx, limit) => removeCredentials(tx, { before, limit }));
}

function eventOf<K extends 'credential.expiring' | 'credential.expired'>(
  { id, application, expires_at }: CredentialExpiry,
  kind: K,
  at: number,
) {
  const payload = { application, id, expiresAt: new Date(expires_at).toISOString() };
  return { vaultId: SYSTEM_VAULT_ID, kind, payload, at };
}

function resourceOf({ id: name, application }: CredentialExpiry) {
  return { application, name };
}

async function listToAnnounce(db: Db, { now, after, limit }: DuePage<DueCredential>): Promise<DueCredential[]> {
  return db.query<DueCredential>(
    `select announce_at as at, id
       from application_credential
      where expired_at is null
        and announce_at <= $1
        and (announce_at, id) > ($2, $3)
        and expires_at > $1
      order by announce_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

async function listExpired(db: Db, { now, after, limit }: DuePage<DueCredential>): Promise<DueCredential[]> {
  return db.query<DueCredential>(
    `select expires_at as at, id
       from application_credential
      where expired_at is null
        and expires_at <= $1
        and (expires_at, id) > ($2, $3)
      order by expires_at, id
      limit $4`,
    [now, after?.at ?? 0, after?.id ?? '', limit],
  );
}

interface CredentialExpiry {
  id: string;
  /** The name of the application. */
  application: string;
  expires_at: number;
  announce_at: number | null;
}

/** The given credentials whose expiry is not recorded yet, the soonest expiry first. */
async function findCredentials(
  tx: Transaction,
  engine: Db['engine'],
  credentials: DueCredential[],
): Promise<CredentialExpiry[]> {
  return tx.query<CredentialExpiry>(
    `select c.id, a.name as application, c.expires_at, c.announce_at
       from application_credential c
       join application a on a.id = c.application_id
      where c.id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and c.expired_at is null
        and c.expires_at is not null
      order by c.expires_at, c.id`,
    [JSON.stringify(credentials.map(({ id }) => [id]))],
  );
}

async function setAnnouncements(
  tx: Transaction,
  engine: Db['engine'],
  announcements: [id: string, announceAt: number | null][],
): Promise<void> {
  await tx.query(
    `update application_credential
        set announce_at = next.announce_at
       from (select value ->> 0 as id, cast(value ->> 1 as bigint) as announce_at
               from ${jsonRows(engine, '$1')}) as next
      where application_credential.id = next.id`,
    [JSON.stringify(announcements)],
  );
}

async function markExpired(
  tx: Transaction,
  engine: Db['engine'],
  { ids, now }: { ids: [string][]; now: number },
): Promise<void> {
  await tx.query(
    `update application_credential
        set expired_at = $2,
            announce_at = null
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [JSON.stringify(ids), now],
  );
}

/** Removes at most `limit` credentials whose expiry was recorded before a time. Returns how many. */
export async function removeCredentials(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from application_credential
      where id in (select id
                     from application_credential
                    where expired_at < $1
                    order by expired_at
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}
