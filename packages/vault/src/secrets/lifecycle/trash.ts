import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { AppError } from '@cardea/contracts/errors';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { nextAnnouncement } from '../../announcements.ts';
import { authorize, principalOf } from '../../authorize.ts';
import { requireConditions } from '../../conditions.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import { secretNotThere } from '../../not-there.ts';
import { giveUpName } from '../given-up-names.ts';
import { reindexSecret, unindexSecret } from '../listing/search-index.ts';
import { countDependants, reasonOf } from '../../dependants.ts';
import type { Dependants } from '../../dependants.ts';
import { lockLiveSecret } from '../secret-state.ts';
import { lockSecret, removeSecret, updateSecret } from '../secret-store.ts';
import type { SecretRow } from '../secret-store.ts';
import { toSummary } from '../summary.ts';
import type { SecretSummary } from '../summary.ts';
import { findVersion } from '../version-store.ts';
import { dueAt } from './due.ts';
import { restoreVersions, trashVersions } from './trash-store.ts';

/**
 * Puts a secret into the trash. Returns how many references that the caller may list point to it.
 * @throws AppError `not_found`, `precondition_failed`
 */
export async function deleteSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  conditions: Conditions,
): Promise<Audited<{ dependants: number }>> {
  const allowed = await authorize(ctx, caller, 'secret.delete', ref);
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const secret = await lockLiveSecret(tx, { vaultId: vault.id, name: ref.name });
    requireConditions(conditions, secret.current_version);
    await trash(ctx, tx, caller, secret);
    const dependants = await countDependants(ctx, tx, caller, secret);
    return { value: { dependants: dependants.seen }, facts: deletionOf({ vault, rule, secret, dependants }) };
  });
}

/** Puts one secret into the trash as part of a transaction. */
export async function trash(ctx: VaultContext, tx: Transaction, caller: Caller, secret: SecretRow): Promise<void> {
  const now = ctx.now().getTime();
  await trashVersions(tx, { secretId: secret.id, at: now, by: principalOf(caller) });
  await updateSecret(tx, { ...secret, announce_at: null, live: 0, trashed_at: now, updated_at: now });
  await unindexSecret(tx, secret.id);
}

/** The audit record of a secret that was put into the trash. */
export function deletionOf({
  vault,
  rule,
  secret,
  dependants,
}: {
  vault: { id: string; name: string };
  rule: AuditRule;
  secret: SecretRow;
  dependants: Dependants;
}): EventFacts {
  const resource = { vault: vault.name, vaultId: vault.id, name: secret.name, version: secret.current_version };
  return { action: 'secret.delete', resource, rule, reason: reasonOf(dependants) };
}

/** A restored secret, and what the next write does to its restored versions that are over the limit of versions then. */
export interface Restored extends SecretSummary {
  nextWrite: { toTrash: number[]; destroyed: number[] } | undefined;
}

/**
 * Restores the versions of a secret that are in the trash. If newer versions exist, a restored version returns to the
 * trash as soon as it is over the limit of versions. Otherwise it is destroyed, like any other. The answer says so
 * before it happens.
 * @throws AppError `not_found` if no secret with this name is in the trash, `precondition_failed`
 */
export async function restoreSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  conditions: Conditions,
): Promise<Audited<Restored>> {
  const allowed = await authorize(ctx, caller, 'secret.delete', ref);
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const secret = await lockSecret(tx, { vaultId: vault.id, name: ref.name });
    const now = ctx.now().getTime();
    // A secret leaves the trash when its retention time is over, even if no sweep has purged it yet.
    const isKept = secret && secret.trashed_at !== null && secret.trashed_at > now - ctx.settings.trashMs;
    if (!isKept) {
      throw new AppError('not_found', 'no secret with this name is in the trash', { rule: 'not-in-trash' });
    }
    requireConditions(conditions, newestOf(secret));
    const current = await findVersion(tx, { secretId: secret.id, version: secret.current_version });
    const restoredAt = current?.deleted_at === null ? now : null;
    const restored = await restoreVersions(tx, { secretId: secret.id, restoredAt });
    const due = dueAt(secret.expires_at, current?.expires_at ?? null);
    // A destroyed value has no expiry to announce.
    const announceAt = current?.ciphertext ? nextAnnouncement(ctx, due, now) : null;
    const times = { due_at: due, announce_at: announceAt, trashed_at: null, updated_at: now };
    const changed: SecretRow = { ...secret, ...times, live: 1 };
    await updateSecret(tx, changed);
    const metadata = JSON.parse(secret.metadata) as Metadata;
    await reindexSecret(tx, ctx.db.engine, { vaultId: vault.id, name: ref.name, secretId: secret.id, metadata });
    const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, version: restored.at(-1)! };
    const through = secret.current_version + 1 - (secret.max_versions ?? vault.max_versions);
    const leaving = restored.filter((version) => version <= through);
    const value = { ...toSummary(changed), nextWrite: fateOf(leaving, restoredAt) };
    return { value, facts: { action: 'secret.restore', resource, rule } };
  });
}

function fateOf(versions: number[], restoredAt: number | null): Restored['nextWrite'] {
  if (versions.length === 0) return undefined;
  return restoredAt === null ? { toTrash: [], destroyed: versions } : { toTrash: versions, destroyed: [] };
}

/**
 * Purges a secret with all its versions, whether or not it is in the trash. Returns the references as `deleteSecret`.
 * @throws AppError `not_found`, `precondition_failed`
 */
export async function purgeSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  conditions: Conditions,
): Promise<Audited<{ dependants: number }>> {
  const allowed = await authorize(ctx, caller, 'secret.destroy', ref);
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const secret = await lockSecret(tx, { vaultId: vault.id, name: ref.name });
    if (!secret) throw secretNotThere('no such secret, in the trash or not');
    requireConditions(conditions, newestOf(secret));
    await unindexSecret(tx, secret.id);
    await removeSecret(tx, secret.id);
    await giveUpName(tx, { vaultId: vault.id, name: ref.name, version: secret.current_version });
    const version = secret.current_version === 0 ? {} : { version: secret.current_version };
    const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, ...version };
    const dependants = await countDependants(ctx, tx, caller, secret);
    const facts: EventFacts = { action: 'secret.purge', resource, rule, reason: reasonOf(dependants) };
    return { value: { dependants: dependants.seen }, facts };
  });
}

// For the conditions of a request, a secret in the trash does not exist.
function newestOf(secret: SecretRow): number | undefined {
  return secret.live === 1 ? secret.current_version : undefined;
}
