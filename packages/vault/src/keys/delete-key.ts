import { changesBetween, timeField } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { DAY_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import { authorize } from '../authorize.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { VaultContext } from '../context.ts';
import { namesOf } from '../principal-names.ts';
import type { Who } from '../principal-names.ts';
import { keyNotThere } from '../not-there.ts';
import { keyResource, toKey } from './key.ts';
import type { Key, KeyRef } from './key.ts';
import { lockKey, updateKey } from './key-store.ts';
import { findLastUse } from './key-use-store.ts';
import { lockUsableKey } from './usable-key.ts';

/** A key that will be destroyed. Who still needs it can restore it until then. */
export interface KeyDeletion {
  name: string;
  deleteAt: Date;
  lastUsedAt?: Date;
  lastUsedBy?: Who;
}

/**
 * Stops a key at once, and lets the schedule destroy it after some days. Uses of it are refused and recorded meanwhile,
 * so that a forgotten user shows up before it is too late.
 * @throws AppError `not_found`, `access_denied`; `conflict` if the key is protected, or was deleted already
 */
export async function deleteKey(
  ctx: VaultContext,
  caller: Caller,
  ref: KeyRef,
  { pendingDays }: { pendingDays: number },
): Promise<Audited<KeyDeletion>> {
  const allowed = await authorize(ctx, caller, 'key.delete', ref);
  const { vault, rule } = allowed;
  await ctx.keyUses.flush();
  const deleted = changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const before = await lockUsableKey(tx, { vaultId: vault.id, name: ref.name });
    if (before.deletion_protection === 1) throw isProtected();
    const now = ctx.now().getTime();
    const deleteAt = now + pendingDays * DAY_MS;
    await updateKey(tx, { ...before, delete_at: deleteAt, updated_at: now });
    const last = await findLastUse(tx, before.id);
    const who = await namesOf(tx, [last?.last_used_by ?? null]);
    const lastUse = last && { lastUsedAt: new Date(last.last_used_at), lastUsedBy: who(last.last_used_by) };
    const changes = changesBetween({}, { deleteAt: timeField(deleteAt) });
    const value = { name: ref.name, deleteAt: new Date(deleteAt), ...lastUse };
    return { value, facts: { action: 'key.delete', rule, resource: keyResource(vault, ref), changes } };
  });
  return deleted.finally(() => ctx.keyMaterials.forget(vault.id));
}

/** Takes the deletion of a key back. @throws AppError `not_found`, `access_denied`; `conflict` if it was not deleted */
export async function restoreKey(ctx: VaultContext, caller: Caller, ref: KeyRef): Promise<Audited<Key>> {
  const allowed = await authorize(ctx, caller, 'key.delete', ref);
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const before = await lockKey(tx, { vaultId: vault.id, name: ref.name });
    if (!before) throw keyNotThere();
    if (before.delete_at === null) throw notDeleted();
    const key = { ...before, delete_at: null, updated_at: ctx.now().getTime() };
    await updateKey(tx, key);
    const changes = changesBetween({ deleteAt: timeField(before.delete_at) }, {});
    return { value: toKey(key), facts: { action: 'key.restore', rule, resource: keyResource(vault, ref), changes } };
  });
}

function isProtected(): AppError {
  const message = 'the key is protected: set deletionProtection to false first';
  return new AppError('conflict', message, { rule: 'key-protected' });
}

function notDeleted(): AppError {
  return new AppError('conflict', 'the key was not deleted', { rule: 'key-not-deleted' });
}
