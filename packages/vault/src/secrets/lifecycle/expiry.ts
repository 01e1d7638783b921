import type { AuditResource } from '@cardea/contracts/audit-event';
import { nextAnnouncement } from '../../announcements.ts';
import { principalOf } from '../../authorize.ts';
import { addEvents } from '../../events/events.ts';
import { changeDue } from '../../sweep.ts';
import type { DueWork } from '../../sweep.ts';
import { systemCaller } from '../../system-caller.ts';
import {
  destroyExpired,
  findExpired,
  findToAnnounce,
  listExpiredSecrets,
  listExpiredVersions,
  listToAnnounce,
  moveExpiriesToVersions,
  setAnnouncements,
} from './expiry-store.ts';
import type { DueSecret, DueVersion, NamedVersion } from './expiry-store.ts';

/** Tells the owners which secrets expire soon, once for each lead time that is reached. */
export const secretAnnouncements: DueWork<DueSecret> = {
  list: (ctx, page) => listToAnnounce(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const due = await findToAnnounce(tx, engine, { ids: items.map(({ id }) => id), now });
      const next = due.map((one) => ({ id: one.secret_id, announceAt: nextAnnouncement(ctx, one.due_at, now) }));
      await setAnnouncements(tx, engine, next);
      await addEvents(
        ctx,
        tx,
        due.map((one) => eventOf(one, 'secret.expiring', now)),
      );
      return due.map((one) => ({ action: 'secret.expiring', resource: resourceOf(one), rule: 'expiry' }));
    });
  },
};

/**
 * Moves the expiry of a secret that has expired as a whole to its versions. It destroys nothing, so nothing is
 * recorded.
 */
export const secretExpiries: DueWork<DueSecret> = {
  list: (ctx, page) => listExpiredSecrets(ctx.db, page),
  work(ctx, items) {
    const ids = items.map(({ id }) => id);
    return ctx.db.transaction((tx) => moveExpiriesToVersions(tx, ctx.db.engine, { ids, now: ctx.now().getTime() }));
  },
};

/**
 * Destroys the values that have expired. From the moment of their expiry, no caller can read them. The sweep is against
 * an attacker who gets hold of the database.
 */
export const versionExpiries: DueWork<DueVersion> = {
  list: (ctx, page) => listExpiredVersions(ctx.db, page),
  work(ctx, items) {
    const { engine } = ctx.db;
    return changeDue(ctx, async (tx, now) => {
      const expired = await findExpired(tx, engine, { versions: items, now });
      await destroyExpired(tx, engine, { versions: expired, at: now, by: principalOf(systemCaller) });
      const newest = expired.filter(({ is_newest }) => is_newest === 1);
      await setAnnouncements(
        tx,
        engine,
        newest.map(({ secret_id: id }) => ({ id, announceAt: null })),
      );
      await addEvents(
        ctx,
        tx,
        newest.map((one) => eventOf(one, 'secret.expired', now)),
      );
      return expired.map((one) => ({ action: 'secret.expire', resource: resourceOf(one), rule: 'expiry' }));
    });
  },
};

function eventOf<K extends 'secret.expiring' | 'secret.expired'>(
  { vault_id: vaultId, name, version, due_at: dueAt }: NamedVersion,
  kind: K,
  at: number,
) {
  return { vaultId, kind, payload: { name, version, expiresAt: new Date(dueAt).toISOString() }, at };
}

function resourceOf({ vault_id: vaultId, vault_name: vault, name, version }: NamedVersion): AuditResource {
  return { vault, vaultId, name, version };
}
