import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import { toGranted } from '../access-store.ts';
import type { GrantColumns } from '../access-store.ts';
import { nextAnnouncement } from '../announcements.ts';
import { addEvents } from '../events/events.ts';
import { principalResource } from '../resource.ts';
import { changeDue } from '../sweep.ts';
import type { DuePage, DueWork } from '../sweep.ts';
import { grantFields } from './grants.ts';

/** A grant whose expiry, or its announcement, is due. */
interface DueGrant {
  at: number;
  vault_id: string;
  principal: string;
}

/** Tells the owners of a vault which grants expire soon, once for each lead time that is reached. */
export const grantAnnouncements: DueWork<DueGrant> = {
  list: (ctx, page) => listToAnnounce(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const due = (await findGrants(tx, engine, items)).filter(
        (grant) => grant.announce_at !== null && grant.announce_at <= now && grant.expires_at > now,
      );
      const next = due.map((grant) => ({ grant, announceAt: nextAnnouncement(ctx, grant.expires_at, now) }));
      await setAnnouncements(tx, engine, next);
      await addEvents(
        ctx,
        tx,
        due.map((grant) => eventOf(grant, 'grant.expiring', now)),
      );
      return due.map((grant) => ({ action: 'grant.expiring', rule: 'expiry', resource: resourceOf(grant) }));
    });
  },
};

/** Deletes expired grants. From its expiry on a grant gives nothing; the owners see who has no access any more. */
export const grantExpiries: DueWork<DueGrant> = {
  list: (ctx, page) => listExpired(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const expired = (await findGrants(tx, engine, items)).filter((grant) => grant.expires_at <= now);
      await removeGrants(tx, engine, expired);
      await addEvents(
        ctx,
        tx,
        expired.map((grant) => eventOf(grant, 'grant.expired', now)),
      );
      return expired.map((grant) => {
        const changes = changesBetween(grantFields(toGranted(grant)), {});
        return { action: 'grant.expire', rule: 'expiry', resource: resourceOf(grant), changes };
      });
    });
  },
};

function eventOf<K extends 'grant.expiring' | 'grant.expired'>(
  { vault_id: vaultId, principal_name: principal, expires_at }: NamedGrant,
  kind: K,
  at: number,
) {
  return { vaultId, kind, payload: { principal, expiresAt: new Date(expires_at).toISOString() }, at };
}

function resourceOf({ vault_id: vaultId, vault_name: vault, principal_name }: NamedGrant) {
  return { vault, vaultId, ...principalResource(principal_name) };
}

async function listToAnnounce(db: Db, { now, after, limit }: DuePage<DueGrant>): Promise<DueGrant[]> {
  return db.query<DueGrant>(
    `select announce_at as at, vault_id, principal
       from vault_grant
      where announce_at <= $1
        and (announce_at, vault_id, principal) > ($2, $3, $4)
        and expires_at > $1
      order by announce_at, vault_id, principal
      limit $5`,
    [now, after?.at ?? 0, after?.vault_id ?? '', after?.principal ?? '', limit],
  );
}

async function listExpired(db: Db, { now, after, limit }: DuePage<DueGrant>): Promise<DueGrant[]> {
  return db.query<DueGrant>(
    `select expires_at as at, vault_id, principal
       from vault_grant
      where expires_at <= $1
        and (expires_at, vault_id, principal) > ($2, $3, $4)
      order by expires_at, vault_id, principal
      limit $5`,
    [now, after?.at ?? 0, after?.vault_id ?? '', after?.principal ?? '', limit],
  );
}

/** A grant with an expiry, as records and events name it. */
interface NamedGrant extends GrantColumns {
  vault_id: string;
  vault_name: string;
  /** `user:<id>` */
  principal: string;
  /** `user:alice` */
  principal_name: string;
  expires_at: number;
  announce_at: number | null;
}

/** The given grants that still exist and have an expiry, the soonest expiry first. */
async function findGrants(tx: Transaction, engine: Db['engine'], grants: DueGrant[]): Promise<NamedGrant[]> {
  return tx.query<NamedGrant>(
    `select g.vault_id, v.name as vault_name, g.principal,
            coalesce('user:' || u.username, 'application:' || a.name) as principal_name,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.key_prefix, g.expires_at,
            g.announce_at
       from (select value ->> 0 as vault_id, value ->> 1 as principal
               from ${jsonRows(engine, '$1')}) as listed
       join vault_grant g on g.vault_id = listed.vault_id and g.principal = listed.principal
       join vault v on v.id = g.vault_id
       left join app_user u on u.id = case when g.principal like 'user:%' then substr(g.principal, 6) end
       left join application a on a.id = case when g.principal like 'application:%' then substr(g.principal, 13) end
      where g.expires_at is not null
      order by g.expires_at, g.vault_id, g.principal`,
    [inJson(grants)],
  );
}

async function setAnnouncements(
  tx: Transaction,
  engine: Db['engine'],
  announcements: { grant: NamedGrant; announceAt: number | null }[],
): Promise<void> {
  const rows = announcements.map(({ grant, announceAt }) => [grant.vault_id, grant.principal, announceAt]);
  await tx.query(
    `update vault_grant
        set announce_at = next.announce_at
       from (select value ->> 0 as vault_id, value ->> 1 as principal, cast(value ->> 2 as bigint) as announce_at
               from ${jsonRows(engine, '$1')}) as next
      where vault_grant.vault_id = next.vault_id
        and vault_grant.principal = next.principal`,
    [JSON.stringify(rows)],
  );
}

async function removeGrants(tx: Transaction, engine: Db['engine'], grants: NamedGrant[]): Promise<void> {
  await tx.query(
    `delete from vault_grant
      where (vault_id, principal) in (select value ->> 0, value ->> 1
                                        from ${jsonRows(engine, '$1')})`,
    [inJson(grants)],
  );
}

function inJson(grants: { vault_id: string; principal: string }[]): string {
  return JSON.stringify(grants.map(({ vault_id, principal }) => [vault_id, principal]));
}
