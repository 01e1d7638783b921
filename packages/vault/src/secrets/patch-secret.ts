import type { AuditChanges } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { AppError } from '@cardea/contracts/errors';
import { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { Transaction } from '@cardea/storage/db';
import { authorizeAll } from '../authorize.ts';
import { requireConditions } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { changeSealed } from '../deks/change-sealed.ts';
import { refusePast } from '../refuse-past.ts';
import { touched } from '../touched.ts';
import { announcementOf, dueAt } from './lifecycle/due.ts';
import { indexSecret } from './listing/search-index.ts';
import { secretChanges } from './secret-changes.ts';
import { getLiveSecret, settleExpiry } from './secret-state.ts';
import { updateSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import { toSummary } from './summary.ts';
import type { SecretSummary } from './summary.ts';
import { findVersion, setVersionExpiry } from './version-store.ts';
import type { VersionRow } from './version-store.ts';

/** A merge patch (RFC 7396): undefined leaves, null takes away. */
export interface SecretPatch {
  metadata?: Record<string, string | null> | undefined;
  /** Milliseconds since 1970; of the secret as a whole, or of `version` if that is given. */
  expiresAt?: number | null | undefined;
  maxVersions?: number | null | undefined;
  version?: number | undefined;
}

/**
 * Changes what stands beside the value. Fewer versions to be kept are removed with the next write.
 * @throws AppError `not_found`, `access_denied`, `precondition_failed`, `gone` for the end of a version without a value,
 * `invalid_request` for an end that has passed or more metadata than fits
 */
export async function patchSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  { patch, conditions }: { patch: SecretPatch; conditions: Conditions },
): Promise<Audited<SecretSummary>> {
  const { vault, rule } = await authorizeAll(ctx, caller, rightsFor(patch), ref);
  refusePast(ctx, patch.expiresAt);
  return changeSealed(ctx, caller, async (tx) => {
    const secret = await getLiveSecret(tx, { vaultId: vault.id, name: ref.name });
    requireConditions(conditions, secret.current_version);
    const settled = await settleExpiry(ctx, tx, secret);
    const named = await getVersion(tx, { secretId: secret.id, version: patch.version ?? secret.current_version });
    const changed = await patched(ctx, tx, settled, named, patch);
    await updateSecret(tx, changed);
    if (patch.metadata) {
      const metadata = JSON.parse(changed.metadata) as Metadata;
      await indexSecret(tx, ctx.db.engine, { vaultId: vault.id, name: ref.name, secretId: secret.id, metadata });
    }
    const version = patch.version === undefined ? {} : { version: patch.version };
    const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, ...version };
    const changes = changesOf(patch, { secret, named, changed });
    return {
      value: toSummary(changed),
      happening: { action: 'secret.update', resource, rule, ...touched(changes) },
    };
  });
}

// An end is a deletion at a later time, and fewer versions are one at the next write.
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
  let secretEnd = secret.expires_at;
  if (patch.expiresAt !== undefined && patch.version === undefined) {
    secretEnd = patch.expiresAt;
    // What the newest version was given when it was written is what is being changed, unless it has come.
    const isToCome = named.expires_at !== null && named.expires_at > ctx.now().getTime();
    if (named.ciphertext !== null && isToCome) await setEnd(ctx, tx, named, null);
  }
  if (patch.expiresAt !== undefined && patch.version !== undefined) await setEnd(ctx, tx, named, patch.expiresAt);
  // An empty patch takes nothing and changes nothing.
  if (isEmpty(patch)) return secret;
  const current = await getVersion(tx, { secretId: secret.id, version: secret.current_version });
  const now = ctx.now().getTime();
  const due = dueAt(secretEnd, current.expires_at);
  return {
    ...secret,
    metadata: patch.metadata ? JSON.stringify(merged(secret.metadata, patch.metadata)) : secret.metadata,
    max_versions: patch.maxVersions === undefined ? secret.max_versions : patch.maxVersions,
    expires_at: secretEnd,
    due_at: due,
    // Of a value that is gone there is no end to come.
    announce_at: current.ciphertext === null ? null : announcementOf(ctx, secret, { due, now }),
    updated_at: now,
  };
}

// An end that has come stays one, whether or not a sweep has destroyed the value yet.
async function setEnd(
  ctx: Pick<VaultContext, 'now'>,
  tx: Transaction,
  { secret_id: secretId, version, ciphertext, expires_at: end }: VersionRow,
  expiresAt: number | null,
): Promise<void> {
  if (end !== null && end <= ctx.now().getTime()) {
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
  throw new AppError('invalid_request', 'metadata: has at most 64 keys');
}

function isEmpty({ metadata, expiresAt, maxVersions }: SecretPatch): boolean {
  return metadata === undefined && expiresAt === undefined && maxVersions === undefined;
}

// Of a version that is named, its own expiry; else when the newest one expires, by itself or with the secret.
function changesOf(
  { version, expiresAt }: SecretPatch,
  { secret, named, changed }: { secret: SecretRow; named: VersionRow; changed: SecretRow },
): AuditChanges | undefined {
  if (version === undefined) return secretChanges(secret, changed);
  const due = named.expires_at;
  return secretChanges({ ...secret, due_at: due }, { ...changed, due_at: expiresAt === undefined ? due : expiresAt });
}
