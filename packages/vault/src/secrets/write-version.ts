import { noChanges } from '@cardea/contracts/audit-changes';
import type { AuditResource } from '@cardea/contracts/audit-event';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { REFERENCE_TYPE } from '@cardea/contracts/secrets/secret-shapes';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { IntegrityError } from '@cardea/crypto/envelope';
import { constantTimeEqual, sha256Hex, uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';
import { announcementOf } from '../announcements.ts';
import { mayRead, principalOf } from '../authorize.ts';
import { requireConditions } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { missingDek, noteFirstUse } from '../deks/dek-store.ts';
import type { EventFactsList } from '../record.ts';
import { refusePast } from '../refuse-past.ts';
import { refuseFullVault } from '../quotas.ts';
import { findLastVersion } from './given-up-names.ts';
import { dueAt } from './lifecycle/due.ts';
import { returnVersions } from './lifecycle/trash-store.ts';
import { requireLimitRight } from './limit-right.ts';
import type { LimitRight } from './limit-right.ts';
import { indexSecret, reindexSecret } from './listing/search-index.ts';
import { bindReference, parseBound, textOfBound } from './reference-value.ts';
import { noteReference } from './references.ts';
import { openVersionInTransaction, sealVersion } from './sealing.ts';
import { secretChanges } from './secret-changes.ts';
import { newSecret, settleExpiry } from './secret-state.ts';
import { insertSecret, lockSecret, updateSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import type { SecretValue } from './secret.ts';
import {
  findBeforeWrite,
  insertVersion,
  moveExpiryToVersions,
  removeVersions,
  setVersionExpiry,
} from './version-store.ts';
import type { BeforeWrite, VersionRow } from './version-store.ts';

/** What a caller may give with a value. Undefined keeps what is stored. The expiry is that of the new version. */
export interface PutOptions {
  metadata?: Metadata | undefined;
  /** Milliseconds since 1970. */
  expiresAt?: number | null | undefined;
  maxVersions?: number | undefined;
}

export interface PutOutcome {
  name: string;
  version: number;
  /** False if the newest version already has this value: then there is no new version. */
  changed: boolean;
  /** Whether the name did not exist, was in the trash, or had no version yet. */
  isNew: boolean;
  createdAt: Date;
  expiresAt?: Date;
}

/** One value to be written, in a vault that the caller was allowed to write to. */
export interface Write {
  vault: Pick<VaultRow, 'id' | 'name' | 'max_versions'>;
  rule: AuditRule;
  /** The action in the audit log: `secret.write`. */
  action: 'secret.write' | 'secret.generate' | 'secret.rollback';
  name: string;
  value: SecretValue;
  options: PutOptions;
  conditions: Conditions;
  /** Needed if `options` can have a limit of versions. */
  limitRight?: LimitRight;
  /** True if the value was read from another version: then a reference is bound already. */
  isStored?: boolean;
}

/** A write whose value is as it is sealed: see `bindReference`. */
interface SealedWrite extends Write {
  /** True for a reference to a secret that the caller may not read. */
  isBlind: boolean;
}

/**
 * Writes one value as part of a transaction of `changeInVaults`; see `putSecret`. With `references`, if the value may be
 * a reference. @throws DekNotLoaded, too
 */
export async function writeVersion(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  asked: Write,
): Promise<{ outcome: PutOutcome; facts: EventFactsList }> {
  refusePast(ctx, asked.options.expiresAt);
  // Nothing is awaited for another value: its first statements are sent together with those that confirm the rights.
  const write = isReference(asked.value) ? await bound(ctx, tx, caller, asked) : { ...asked, isBlind: false };
  return writeSealed(ctx, tx, caller, write);
}

async function bound(ctx: VaultContext, tx: Transaction, caller: Caller, asked: Write): Promise<SealedWrite> {
  const bytes = asked.isStored ? asked.value.bytes : await bindReference(tx, asked.value.bytes);
  const isBlind = !(await mayRead(ctx, tx, caller, parseBound(bytes)));
  return { ...asked, value: { ...asked.value, bytes, contentType: REFERENCE_TYPE }, isBlind };
}

async function writeSealed(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  write: SealedWrite,
): Promise<{ outcome: PutOutcome; facts: EventFactsList }> {
  const named = { vaultId: write.vault.id, name: write.name };
  // Sent at once: the second statement runs when the first has locked the secret.
  const [secret, before] = await Promise.all([
    lockSecret(tx, named),
    findBeforeWrite(tx, { ...named, maxVersions: write.vault.max_versions }),
  ]);
  if (!before) throw await missingDek(tx, named);
  const isLive = secret?.live === 1;
  requireConditions(write.conditions, isLive ? secret.current_version : undefined);
  if (isLive) write.rule = ruleOfLimit(write, secret);

  const current = isLive && before.version !== null ? before : undefined;
  if (!secret || !current) return addVersion(ctx, tx, caller, write, { secret, before });
  try {
    if (holds(ctx, write, secret, current)) return await keepVersion(ctx, tx, write, secret, current);
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error;
    // A damaged version can be replaced by a new one, but the damage is recorded.
    const { outcome, facts } = await addVersion(ctx, tx, caller, write, { secret, before });
    return { outcome, facts: [...facts, damageOf(write, current.version)] };
  }
  return addVersion(ctx, tx, caller, write, { secret, before });
}

function ruleOfLimit({ vault, rule, options, limitRight }: Write, secret: SecretRow): AuditRule {
  const before = secret.max_versions ?? vault.max_versions;
  return requireLimitRight(limitRight, rule, { before, after: options.maxVersions ?? before });
}

/** Media types are case-insensitive, and a reference with a parameter in its media type is still a reference. */
export function isReference({ contentType }: SecretValue): boolean {
  return contentType?.split(';')[0]?.trim().toLowerCase() === REFERENCE_TYPE;
}

function damageOf({ vault, action, name }: Write, version: number): EventFacts {
  return {
    action,
    decision: 'deny',
    reason: 'the previous version does not open',
    resource: { vault: vault.name, vaultId: vault.id, name, version },
    rule: 'integrity',
    suspicious: 'integrity_failure',
  };
}

// A value that has expired or is in the trash counts as absent, so writing the same value again makes a new version.
// A caller who may not read the target of a reference must not learn from the answer that it was made again.
function holds(
  ctx: VaultContext,
  { vault, name, value, isBlind }: SealedWrite,
  secret: SecretRow,
  current: VersionRow,
): boolean {
  const { ciphertext, encoding, content_type: contentType, version } = current;
  const due = dueAt(secret.expires_at, current.expires_at);
  if (ciphertext === null || current.deleted_at !== null || (due !== null && due <= ctx.now().getTime())) return false;
  if (encoding !== value.encoding || contentType !== (value.contentType ?? null)) return false;
  const id = { vault, name, secretId: secret.id, version };
  const bytes = openVersionInTransaction(ctx, id, { ciphertext, encoding, content_type: contentType });
  const [old, given] = isBlind ? [textOfBound(bytes), textOfBound(value.bytes)] : [bytes, value.bytes];
  const equal = constantTimeEqual(old, given);
  bytes.fill(0);
  return equal;
}

async function keepVersion(
  ctx: VaultContext,
  tx: Transaction,
  write: Write,
  secret: SecretRow,
  current: VersionRow,
): Promise<{ outcome: PutOutcome; facts: EventFactsList }> {
  const { vault, rule, action, name, options } = write;
  const { version } = current;
  const expiresAt = options.expiresAt === undefined ? current.expires_at : options.expiresAt;
  const isTouched = Object.values(options).some((option) => option !== undefined);
  let changes = noChanges;
  if (isTouched) {
    const next = withVersion(ctx, secret, { version, expiresAt, options, at: ctx.now().getTime() });
    await setVersionExpiry(tx, { secretId: secret.id, version, expiresAt });
    await updateSecret(tx, next);
    changes = secretChanges(secret, next);
    await indexAfterWrite(ctx, tx, write, next, { isIndexed: true });
  }
  const resource = { vault: vault.name, vaultId: vault.id, name, version };
  const reason = isTouched ? 'value unchanged' : 'unchanged';
  const outcome = { name, version, changed: false, isNew: false, createdAt: new Date(current.created_at) };
  return {
    outcome: { ...outcome, ...expiry(dueAt(secret.expires_at, expiresAt)) },
    facts: [{ action, resource, rule, reason, changes }],
  };
}

async function addVersion(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  write: SealedWrite,
  { secret, before: found }: { secret: SecretRow | undefined; before: BeforeWrite },
): Promise<{ outcome: PutOutcome; facts: EventFactsList }> {
  const { vault, rule, action, name, value, options } = write;
  const createdAt = ctx.now().getTime();
  const createdBy = principalOf(caller);
  const secretId = secret?.id ?? uuidv7(createdAt);
  const known = secret ?? newSecret({ id: secretId, vaultId: vault.id, name, at: createdAt });
  // A new name is taken before anything else is read: from then on nobody can make and purge a secret of this name, so
  // its count of versions stays as it is read.
  if (secret === undefined) await refuseFullVault(ctx, tx, vault.id);
  const [isFree, before] = await Promise.all([
    secret !== undefined || insertSecret(tx, { ...known, created_by: createdBy }),
    secretBefore(ctx, tx, known),
  ]);
  if (!isFree) return writeSealed(ctx, tx, caller, write);
  const version = before.current_version + 1;
  const expiresAt = options.expiresAt ?? null;
  const { dek_version: dekVersion, first_used_at } = found;
  await noteFirstUse(tx, vault.id, { version: dekVersion, first_used_at }, createdAt);
  const ciphertext = sealVersion(ctx, { vault, name, secretId, version }, { dekVersion, value });

  const next = withVersion(ctx, before, { version, expiresAt, options, at: createdAt });
  const through = version - (next.max_versions ?? vault.max_versions);
  const mayReturn = found.restored > 0 || options.maxVersions !== undefined;
  const { encoding, contentType = null } = value;
  const sealed = { ciphertext, dekVersion, encoding, contentType };
  // Sent at once. Only what returns to the trash decides what is written of the secret.
  const [room] = await Promise.all([
    makeRoom(tx, { secretId, through, at: createdAt, by: createdBy, mayReturn }),
    insertVersion(tx, { secretId, vaultId: vault.id, version, ...sealed, expiresAt, createdAt, createdBy }),
    mayReturn || updateSecret(tx, next),
    indexAfterWrite(ctx, tx, write, next, { isIndexed: secret?.live === 1 }),
  ]);
  const after = room.returned.length === 0 ? next : { ...next, trashed_at: createdAt };
  if (mayReturn) await updateSecret(tx, after);
  if (contentType === REFERENCE_TYPE)
    await noteReference(ctx, tx, caller, { vault: vault.name, name, secretId, version }, value.bytes);

  const resource = { vault: vault.name, vaultId: vault.id, name, version };
  const changes = secretChanges(before, after);
  const outcome = { name, version, changed: true, isNew: secret?.live !== 1, createdAt: new Date(createdAt) };
  return {
    outcome: { ...outcome, ...expiry(after.due_at) },
    facts: [
      { action, resource, rule, changes, dekVersion, ciphertextSha256: sha256Hex(ciphertext) },
      ...limitRecord('secret.destroy', room.removed, resource),
      ...limitRecord('secret.delete', room.returned, resource),
    ],
  };
}

/**
 * Makes room for the next version: removes the versions over the limit. Versions in the trash do not count and stay
 * there. A version that was restored from the trash while a newer one existed returns to the trash. If it were removed
 * instead, the next write would destroy what a caller has restored.
 */
async function makeRoom(
  tx: Transaction,
  { mayReturn, ...page }: { secretId: string; through: number; at: number; by: string; mayReturn: boolean },
): Promise<{ removed: number[]; returned: number[] }> {
  if (page.through < 1) return { removed: [], returned: [] };
  const [returned, removed] = await Promise.all([mayReturn ? returnVersions(tx, page) : [], removeVersions(tx, page)]);
  return { removed, returned };
}

// One record for all versions: there may be a thousand of them if the limit was lowered.
function limitRecord(
  action: 'secret.destroy' | 'secret.delete',
  versions: number[],
  resource: AuditResource,
): EventFacts[] {
  const [first, last] = [versions[0], versions.at(-1)];
  if (first === undefined || last === undefined) return [];
  const facts = { action, rule: 'max-versions' } as const;
  if (first === last) return [{ ...facts, resource: { ...resource, version: last } }];
  const count = versions.length;
  return [{ ...facts, resource: { ...resource, version: last, count }, reason: `versions ${first} to ${last}` }];
}

/**
 * A secret before its next version. A name in the trash starts afresh: its limit and metadata are reset, and its expiry
 * goes to the versions in the trash. A secret without a version continues the count of purged or moved secrets of its
 * name.
 */
async function secretBefore(ctx: VaultContext, tx: Transaction, secret: SecretRow): Promise<SecretRow> {
  const { id, vault_id: vaultId, name } = secret;
  if (secret.live === 1) return settleExpiry(ctx, tx, secret);
  if (secret.current_version === 0) {
    return { ...(await settleExpiry(ctx, tx, secret)), current_version: await findLastVersion(tx, { vaultId, name }) };
  }
  if (secret.expires_at !== null) await moveExpiryToVersions(tx, { id, expiresAt: secret.expires_at });
  return { ...secret, max_versions: null, metadata: '{}', expires_at: null, due_at: null, announce_at: null };
}

function withVersion(
  ctx: VaultContext,
  secret: SecretRow,
  { version, expiresAt, options, at }: { version: number; expiresAt: number | null; options: PutOptions; at: number },
): SecretRow {
  const due = dueAt(secret.expires_at, expiresAt);
  return {
    ...secret,
    current_version: version,
    max_versions: options.maxVersions ?? secret.max_versions,
    metadata: options.metadata ? JSON.stringify(options.metadata) : secret.metadata,
    due_at: due,
    announce_at: announcementOf(ctx, secret, { due, now: at }),
    live: 1,
    updated_at: at,
  };
}

async function indexAfterWrite(
  ctx: VaultContext,
  tx: Transaction,
  { vault, name, options }: Write,
  secret: SecretRow,
  { isIndexed }: { isIndexed: boolean },
): Promise<void> {
  const metadata = JSON.parse(secret.metadata) as Metadata;
  const indexed = { vaultId: vault.id, name, secretId: secret.id, metadata };
  if (!isIndexed) await indexSecret(tx, ctx.db.engine, indexed);
  else if (options.metadata) await reindexSecret(tx, ctx.db.engine, indexed);
}

function expiry(due: number | null): { expiresAt?: Date } {
  return due === null ? {} : { expiresAt: new Date(due) };
}
