import type { AuditResource } from '@cardea/contracts/audit-event';
import { principalOf } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { addEvent } from '../../events/events.ts';
import { NotDue, changeIfDue, runEach, sweepPages } from '../../sweep.ts';
import { systemCaller } from '../../system-caller.ts';
import { destroyVersion, findVersion, moveExpiryToVersions } from '../version-store.ts';
import { nextAnnouncement } from './due.ts';
import {
  findDueSecret,
  listExpiredSecrets,
  listExpiredVersions,
  listToAnnounce,
  setAnnouncement,
} from './expiry-store.ts';
import type { DueSecret } from './expiry-store.ts';

/** Tells the owners which secrets expire soon, once for each lead time that is reached. */
export async function announceExpiries(ctx: VaultContext): Promise<void> {
  await sweepPages(
    (limit) => listToAnnounce(ctx.db, { now: ctx.now().getTime(), limit }),
    ({ id }) => announce(ctx, id),
  );
}

async function announce(ctx: VaultContext, id: string): Promise<boolean> {
  return changeIfDue(ctx, async (tx) => {
    const now = ctx.now().getTime();
    const secret = await findDueSecret(tx, id);
    const { due_at: dueAt = null, announce_at: announceAt = null } = secret ?? {};
    const isDue = announceAt !== null && announceAt <= now && dueAt !== null && dueAt > now;
    if (!secret || !isDue) throw new NotDue();
    await setAnnouncement(tx, { id, announceAt: nextAnnouncement(ctx, dueAt, now) });
    await addEvent(tx, eventOf(secret, 'secret.expiring', { at: now, version: secret.current_version, dueAt }));
    return { action: 'secret.expiring', resource: resourceOf(secret, secret.current_version), rule: 'expiry' };
  });
}

/**
 * Destroys the values that have expired. From the moment of their expiry, no caller can read them. The sweep is against
 * an attacker who gets hold of the database.
 */
export async function sweepExpired(ctx: VaultContext): Promise<void> {
  const now = ctx.now().getTime();
  await runEach([
    () =>
      sweepPages(
        (limit) => listExpiredSecrets(ctx.db, { now, limit }),
        ({ id }) => expireSecret(ctx, id),
      ),
    () =>
      sweepPages(
        (limit) => listExpiredVersions(ctx.db, { now, limit }),
        (ended) => expireVersion(ctx, { secretId: ended.secret_id, version: ended.version }),
      ),
  ]);
}

async function expireSecret(ctx: VaultContext, id: string): Promise<boolean> {
  return ctx.db.transaction(async (tx) => {
    const secret = await findDueSecret(tx, id);
    if (!secret?.expires_at || secret.expires_at > ctx.now().getTime()) return false;
    await moveExpiryToVersions(tx, { id, expiresAt: secret.expires_at });
    return true;
  });
}

async function expireVersion(
  ctx: VaultContext,
  { secretId, version }: { secretId: string; version: number },
): Promise<boolean> {
  return changeIfDue(ctx, async (tx) => {
    const now = ctx.now().getTime();
    const secret = await findDueSecret(tx, secretId);
    const ended = await findVersion(tx, { secretId, version });
    const dueAt = ended?.expires_at;
    if (!secret || !dueAt || dueAt > now) throw new NotDue();
    if (!(await destroyVersion(tx, { secretId, version, at: now, by: principalOf(systemCaller) }))) throw new NotDue();
    if (ended.deleted_at === null && version === secret.current_version) {
      await setAnnouncement(tx, { id: secretId, announceAt: null });
      await addEvent(tx, eventOf(secret, 'secret.expired', { at: now, version, dueAt }));
    }
    return { action: 'secret.expire', resource: resourceOf(secret, version), rule: 'expiry' };
  });
}

function eventOf<K extends 'secret.expiring' | 'secret.expired'>(
  secret: DueSecret,
  kind: K,
  { at, version, dueAt }: { at: number; version: number; dueAt: number },
) {
  const payload = { name: secret.name, version, expiresAt: new Date(dueAt).toISOString() };
  return { vaultId: secret.vault_id, kind, payload, at };
}

function resourceOf(secret: DueSecret, version: number): AuditResource {
  return { vault: secret.vault_name, vaultId: secret.vault_id, name: secret.name, version };
}
