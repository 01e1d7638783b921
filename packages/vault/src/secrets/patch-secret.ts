import type { ComparedFields } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { AppError } from '@cardea/contracts/errors';
import { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { Transaction } from '@cardea/storage/db';
import { announcementOf } from '../announcements.ts';
import { authorizeAll } from '../authorize.ts';
import { requireConditions } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { refusePast } from '../refuse-past.ts';
import { dueAt } from './lifecycle/due.ts';
import { reindexSecret } from './listing/search-index.ts';
import { findLimitRight, requireLimitRight } from './limit-right.ts';
import { secretChanges } from './secret-changes.ts';
import { lockLiveSecret, settleExpiry } from './secret-state.ts';
import { updateSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import { toSummary } from './summary.ts';
import type { SecretSummary } from './summary.ts';
import { findVersion, setVersionExpiry } from './version-store.ts';
import type { VersionRow } from './version-store.ts';

/** A merge patch (RFC 7396): undefined keeps a field, null clears it. */
export interface SecretPatch {
  metadata?: Record<string, string | null> | undefined;
  /** Milliseconds since 1970. The expiry of the whole secret, or of `version` if that is given. */
  expiresAt?: number | null | undefined;
  maxVersions?: number | null | undefined;
  version?: number | undefined;
}

/**
 * Changes the metadata, the expiry and the limit of versions. If the limit becomes lower, the next write removes the
 * versions over it.
 * @throws AppError `not_found`, `access_denied`, `precondition_failed`, `gone` for the expiry of a version that has
 * expired or was destroyed, `invalid_request` for an expiry in the past or too much metadata
 */
export async function patchSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  { patch, conditions }: { patch: SecretPatch; conditions: Conditions },
): Promise<Audited<SecretSummary>> {
  const allowed = await authorizeAll(ctx, caller, rightsFor(patch), ref);
  // Without a limit of its own, the secret has that of the vault, which may be lower.
  const unlimited = patch.maxVersions === null ? ref.name : undefined;
  const limitRight = await findLimitRight(ctx, caller, { vault: ref.vault, name: unlimited });
  const { vault } = allowed;
  refusePast(ctx, patch.expiresAt);
  return changeInVaults(ctx, caller, { rights: [allowed, ...limitRight.rights] }, async (tx) => {
    const secret = await lockLiveSecret(tx, { vaultId: vault.id, name: ref.name });
    requireConditions(conditions, secret.current_version);
    const before = secret.max_versions ?? vault.max_versions;
    const after = patch.maxVersions === null ? vault.max_versions : before;
    const rule = requireLimitRight(limitRight, allowed.rule, { before, after });
    const settled = await settleExpiry(ctx, tx, secret);
    const named = await getVersion(tx, { secretId: secret.id, version: patch.version ?? secret.current_version });
    const changed = await patched(ctx, tx, settled, named, patch);
    await updateSecret(tx, changed);
    if (patch.metadata) {
      const metadata = JSON.parse(changed.metadata) as Metadata;
      await reindexSecret(tx, ctx.db.engine, { vaultId: vault.id, name: ref.name, secretId: secret.id, metadata });
    }
    const version = patch.version === undefined ? {} : { version: patch.version };
    const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, ...version };
    const changes = changesOf(patch, { secret, named, changed });
    return {
      value: toSummary(changed),
      facts: { action: 'secret.update', resource, rule, changes },
    };
  });
}

// Both also need the right to delete: an expiry deletes at a later time, and a limit of versions with the next write.
function rightsFor({ expiresAt, maxVersions }: SecretPatch): ['secret.write', ...'secret.delete'[]] {
  const takesAway = typeof expiresAt === 'number' || typeof maxVersions === 'number';
  return takesAway ? ['secret.write', 'secret.delete'] : ['secret.write'];
}

async function patched(
  ctx: VaultContext,
  tx: Transaction,
  secret: SecretRow,
  named: VersionRow,
  patch: SecretPatch,
): Promise<SecretRow> {
  let secretExpiresAt = secret.expires_at;
  if (patch.expiresAt !== undefined && patch.version === undefined) {
    secretExpiresAt = patch.expiresAt;
    // This change replaces the expiry that the newest version got when it was written, unless that has passed.
    const isToCome = named.expires_at !== null && named.expires_at > ctx.now().getTime();
    if (named.ciphertext !== null && isToCome) await setExpiry(ctx, tx, named, null);
  }
  if (patch.expiresAt !== undefined && patch.version !== undefined) await setExpiry(ctx, tx, named, patch.expiresAt);
  // An empty patch changes nothing, not even `updated_at`.
  if (isEmpty(patch)) return secret;
  const current = await getVersion(tx, { secretId: secret.id, version: secret.current_version });
  const now = ctx.now().getTime();
  const due = dueAt(secretExpiresAt, current.expires_at);
  return {
    ...secret,
    metadata: patch.metadata ? JSON.stringify(merged(secret.metadata, patch.metadata)) : secret.metadata,
    max_versions: patch.maxVersions === undefined ? secret.max_versions : patch.maxVersions,
    expires_at: secretExpiresAt,
    due_at: due,
    // A destroyed value has no expiry to announce.
    announce_at: current.ciphertext === null ? null : announcementOf(ctx, secret, { due, now }),
    updated_at: now,
  };
}

// A version that has expired stays expired, whether or not a sweep has destroyed its value yet.
async function setExpiry(
  ctx: Pick<VaultContext, 'now'>,
  tx: Transaction,
  { secret_id: secretId, version, ciphertext, expires_at: current }: VersionRow,
  expiresAt: number | null,
): Promise<void> {
  if (current !== null && current <= ctx.now().getTime()) {
    throw new AppError('gone', `version ${version} has expired`, { rule: 'expired' });
  }
  if (ciphertext === null) throw new AppError('gone', `version ${version} was destroyed`, { rule: 'destroyed' });
  await setVersionExpiry(tx, { secretId, version, expiresAt });
}

async function getVersion(tx: Transaction, id: { secretId: string; version: number }): Promise<VersionRow> {
  const row = await findVersion(tx, id);
  if (row?.deleted_at === null) return row;
  throw new AppError('not_found', 'no such version', { rule: 'no-such-version' });
}

function merged(metadata: string, patch: Record<string, string | null>): Metadata {
  const now = { ...(JSON.parse(metadata) as Metadata), ...patch };
  const kept = Object.fromEntries(Object.entries(now).filter(([, value]) => value !== null));
  const parsed = Metadata.safeParse(kept);
  if (parsed.success) return parsed.data;
  throw new AppError('invalid_request', `metadata: ${parsed.error.issues[0]!.message}`);
}

function isEmpty({ metadata, expiresAt, maxVersions }: SecretPatch): boolean {
  return metadata === undefined && expiresAt === undefined && maxVersions === undefined;
}

// If the patch names a version, the change is in that version's own expiry. Otherwise it is in the expiry of the newest
// version, which may expire by itself or with the secret.
function changesOf(
  { version, expiresAt }: SecretPatch,
  { secret, named, changed }: { secret: SecretRow; named: VersionRow; changed: SecretRow },
): ComparedFields {
  if (version === undefined) return secretChanges(secret, changed);
  const due = named.expires_at;
  return secretChanges({ ...secret, due_at: due }, { ...changed, due_at: expiresAt === undefined ? due : expiresAt });
}
