import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { secretContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import { constantTimeEqual, sha256Hex, uuidv7 } from '@cardea/crypto/ids';
import { UniqueViolation } from '@cardea/storage/db';
import type { Transaction } from '@cardea/storage/db';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { audited, changed } from '../record.ts';
import { findNewestDekVersion } from '../vaults/dek-store.ts';
import { pageOf } from '../vaults/vaults.ts';
import { advanceSecret, findSecretVersion, insertSecret, insertSecretVersion, listSecretRows } from './secret-store.ts';
import type { SecretVersionRow } from './secret-store.ts';

/** Names one secret; without a version, its newest one. */
export interface SecretRef {
  vault: string;
  name: string;
  version?: number | undefined;
}

/** A value as it is kept: bytes, how the caller wrote them, and of what kind they are. */
export interface SecretValue {
  bytes: Uint8Array;
  encoding: 'utf8' | 'base64';
  contentType?: string | undefined;
}

export interface Secret extends SecretValue {
  name: string;
  version: number;
  createdAt: Date;
}

/** @throws AppError `not_found`, `access_denied`, `sealed`, `unavailable`; IntegrityError if the row is not the one asked for */
export async function readSecret(ctx: VaultContext, caller: Caller, ref: SecretRef): Promise<Audited<Secret>> {
  const { vault, rule } = await authorize(ctx, caller, 'secret.read', ref);
  ctx.audit.admit();

  const row = await findSecretVersion(ctx.db, { vaultId: vault.id, name: ref.name, version: ref.version ?? null });
  if (!row) throw new AppError('not_found', 'no such secret, or no such version', { rule: 'no-such-secret' });

  const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, version: row.version };
  const dekVersion = envelopeKeyVersion(row.ciphertext);
  return audited(ctx, caller, { action: 'secret.read', resource, rule, dekVersion }, openRow(ctx, vault.id, ref, row));
}

async function openRow(ctx: VaultContext, vaultId: string, ref: SecretRef, row: SecretVersionRow): Promise<Secret> {
  const dek = { vaultId, dekVersion: envelopeKeyVersion(row.ciphertext) };
  const bytes = await ctx.deks.use(dek, (key) => open(key, row.ciphertext, contextOf(vaultId, ref, row)));
  return {
    name: ref.name,
    version: row.version,
    bytes,
    encoding: row.encoding,
    contentType: row.content_type ?? undefined,
    createdAt: new Date(row.created_at),
  };
}

// Vault, name and version come from the request, not from the row: a row moved by
// someone with access to the database does not open.
function contextOf(vaultId: string, ref: SecretRef, row: { secret_id: string; version: number }): Uint8Array {
  const version = ref.version ?? row.version;
  return secretContext({ vaultId, name: ref.name, secretId: row.secret_id, version, field: 'value' });
}

export interface PutOutcome {
  name: string;
  version: number;
  changed: boolean;
  createdAt: Date;
}

const ATTEMPTS_MAX = 20;

/** Stores a value as the newest version; the identical value again makes none. */
export async function putSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: SecretRef,
  value: SecretValue,
): Promise<Audited<PutOutcome>> {
  const { vault, rule } = await authorize(ctx, caller, 'secret.write', ref);
  ctx.audit.admit();

  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const current = await findSecretVersion(ctx.db, { vaultId: vault.id, name: ref.name, version: null });
    if (current && (await isSame(ctx, vault.id, ref, current, value))) {
      const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, version: current.version };
      const outcome = outcomeOf(ref, current.version, false, current.created_at);
      return audited(ctx, caller, { action: 'secret.write', resource, rule, reason: 'unchanged' }, outcome);
    }
    try {
      return await addVersion(ctx, caller, { vault, rule, ref, current, value });
    } catch (error) {
      // Another writer was first: look again at what it wrote.
      if (!(error instanceof UniqueViolation || error instanceof Outrun)) throw error;
    }
  }
  throw new AppError('unavailable', 'too many writers write this secret at once');
}

class Outrun extends Error {}

async function isSame(
  ctx: VaultContext,
  vaultId: string,
  ref: SecretRef,
  current: SecretVersionRow,
  value: SecretValue,
): Promise<boolean> {
  const same = current.encoding === value.encoding && current.content_type === (value.contentType ?? null);
  if (!same) return false;
  const { bytes } = await openRow(ctx, vaultId, ref, current);
  const equal = constantTimeEqual(bytes, value.bytes);
  bytes.fill(0);
  return equal;
}

interface Write {
  vault: { id: string; name: string };
  rule: string;
  ref: SecretRef;
  current: SecretVersionRow | undefined;
  value: SecretValue;
}

async function addVersion(ctx: VaultContext, caller: Caller, write: Write): Promise<Audited<PutOutcome>> {
  const { vault, rule, ref, current, value } = write;
  const createdAt = ctx.now().getTime();
  const secretId = current?.secret_id ?? uuidv7(createdAt);
  const version = (current?.current_version ?? 0) + 1;
  const { ciphertext, dekVersion } = await sealValue(
    ctx,
    { vaultId: vault.id, secretId, name: ref.name, version },
    value,
  );

  return changed(ctx, caller, async (tx) => {
    await claimVersion(tx, { vaultId: vault.id, secretId, name: ref.name, createdAt, current });
    const { encoding, contentType = null } = value;
    const createdBy = caller.actor.id;
    await insertSecretVersion(tx, { secretId, version, ciphertext, encoding, contentType, createdAt, createdBy });
    const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, version };
    const ciphertextSha256 = sha256Hex(ciphertext);
    return {
      value: outcomeOf(ref, version, true, createdAt),
      happening: { action: 'secret.write', resource, rule, dekVersion, ciphertextSha256 },
    };
  });
}

async function sealValue(
  ctx: VaultContext,
  id: { vaultId: string; secretId: string; name: string; version: number },
  value: SecretValue,
): Promise<{ ciphertext: Uint8Array; dekVersion: number }> {
  const dekVersion = await findNewestDekVersion(ctx.db, id.vaultId);
  if (dekVersion === undefined) throw new AppError('internal', `vault ${id.vaultId} has no DEK`);
  const context = secretContext({ ...id, field: 'value' });
  const ciphertext = await ctx.deks.use({ vaultId: id.vaultId, dekVersion }, (key) => seal(key, value.bytes, context));
  return { ciphertext, dekVersion };
}

async function claimVersion(
  tx: Transaction,
  claim: { vaultId: string; secretId: string; name: string; createdAt: number; current: SecretVersionRow | undefined },
): Promise<void> {
  const { vaultId, secretId, name, createdAt, current } = claim;
  if (!current) return insertSecret(tx, { id: secretId, vaultId, name, createdAt });
  const advanced = await advanceSecret(tx, { id: secretId, from: current.current_version, updatedAt: createdAt });
  if (!advanced) throw new Outrun();
}

function outcomeOf(ref: SecretRef, version: number, isChanged: boolean, createdAt: number): PutOutcome {
  return { name: ref.name, version, changed: isChanged, createdAt: new Date(createdAt) };
}

export interface SecretSummary {
  name: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

/** Names of secrets, never their values, and only of those the caller may see. */
export async function listSecrets(
  ctx: VaultContext,
  caller: Caller,
  query: { vault: string; prefix?: string | undefined; cursor?: string | undefined; limit: number },
): Promise<Audited<{ items: SecretSummary[]; nextCursor?: string }>> {
  const { vault, rule, pathPrefix = null } = await authorize(ctx, caller, 'secret.list', { vault: query.vault });
  const { prefix = '', cursor = '', limit } = query;
  const rows = await listSecretRows(ctx.db, { vaultId: vault.id, prefix, pathPrefix, cursor, limit: limit + 1 });
  const items = rows.map((row) => ({
    name: row.name,
    version: row.current_version,
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  }));
  const page = pageOf(items, limit);
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, { action: 'secret.list', rule, resource }, page);
}
