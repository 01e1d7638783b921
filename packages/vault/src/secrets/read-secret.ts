import { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { REFERENCE_TYPE } from '@cardea/contracts/secrets';
import type { Metadata } from '@cardea/contracts/secrets';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import type { Queryable } from '@cardea/storage/db';
import { authorize, principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { audited } from '../record.ts';
import type { Happening, Happenings } from '../record.ts';
import { isKnown, requireMatch } from './conditions.ts';
import type { Conditions } from './conditions.ts';
import { dueAt } from './due.ts';
import type { SecretValue } from './put-secret.ts';
import { REFERENCE_HOPS_MAX, parseReference, tooManyHops } from './references.ts';
import { openVersionSoon } from './sealing.ts';
import { findReadable } from './secret-store.ts';
import type { ReadableRow, VersionRow } from './secret-store.ts';
import { reworded } from './which-one.ts';

/** Names one secret; without a version, its newest one. */
export interface SecretRef {
  vault: string;
  name: string;
  version?: number | undefined;
}

export interface Secret extends SecretValue {
  name: string;
  version: number;
  metadata: Metadata;
  createdAt: Date;
  expiresAt?: Date | undefined;
  /** What a reference led to. */
  target?: { vault: string; name: string; version: number };
  /** Changes whenever what is read does: the version, and of a reference the versions on the way. */
  tag: string;
}

/** How a secret is read. */
export interface Reading {
  conditions: Conditions;
  /** Whether a reference is followed, with the caller's own rights at every hop, or read itself. */
  resolve: boolean;
}

/**
 * Reads a version. What the client has already is neither released again nor recorded.
 * @throws AppError `not_found`, `access_denied`, `gone`, `precondition_failed`, `sealed`, `unavailable`; `conflict` for a
 * reference that leads on for too long; IntegrityError if the row is not the one asked for
 */
export async function readSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: SecretRef,
  { conditions, resolve }: Reading,
): Promise<Audited<Secret> | NotModified> {
  const asked = await findHop(ctx, caller, ref);
  const hops: Hops = resolve ? await followReferences(ctx, caller, asked) : [asked];
  const tag = tagOf(hops);
  requireMatch(conditions, tag);
  if (isKnown(conditions, tag)) return new NotModified({ ETag: `"${tag}"` });
  const read = await audited(ctx, caller, happeningsOf(hops), openLast(ctx, hops));
  const rows = hops.map(({ row }) => row);
  noteReads(ctx, caller, rows);
  return read;
}

/** One secret on the way to a value. */
export interface Hop {
  vault: { id: string; name: string };
  rule: string;
  name: string;
  row: FoundVersion;
}

/** From the secret that was asked for to the one that has the value. */
export type Hops = [Hop, ...Hop[]];

/** A version whose value is there and may be read. */
export type FoundVersion = ReadableRow & { ciphertext: Uint8Array };

/** Goes on from a reference, with the caller's own rights at every hop. @throws AppError as `readSecret` */
export async function followReferences(ctx: VaultContext, caller: Caller, asked: Hop): Promise<Hops> {
  const hops: Hops = [asked];
  while (hops.at(-1)!.row.content_type === REFERENCE_TYPE) {
    if (hops.length > REFERENCE_HOPS_MAX) throw tooManyHops('conflict');
    hops.push(await followHop(ctx, caller, hops.at(-1)!));
  }
  return hops;
}

async function findHop(ctx: VaultContext, caller: Caller, ref: SecretRef): Promise<Hop> {
  const { vault, rule } = await authorize(ctx, caller, 'secret.read', ref);
  ctx.audit.admit();
  const row = await getReadable(ctx, ctx.db, { vaultId: vault.id, ...ref });
  return { vault, rule, name: ref.name, row };
}

async function followHop(ctx: VaultContext, caller: Caller, hop: Hop): Promise<Hop> {
  const target = parseReference(await openHop(ctx, hop));
  try {
    return await findHop(ctx, caller, target);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // The record names what was refused: a reference that leads there is no way around it.
    const resource = { vault: target.vault, name: target.name };
    throw reworded(error, `what the reference points to: ${error.message}`, { resource });
  }
}

/**
 * A version that is there for whoever may read it.
 * @throws AppError `not_found` if it is not or is in the trash; `gone` if it has ended or was destroyed
 */
export async function getReadable(
  ctx: Pick<VaultContext, 'now'>,
  db: Queryable,
  { vaultId, name, version = null }: { vaultId: string; name: string; version?: number | null | undefined },
): Promise<FoundVersion> {
  return requireReadable(ctx, await findReadable(db, { vaultId, name, version }));
}

/** @throws AppError as `getReadable` */
export function requireReadable(ctx: Pick<VaultContext, 'now'>, row: ReadableRow | undefined): FoundVersion {
  if (!row || row.version <= row.trashed_through) {
    throw new AppError('not_found', 'no such secret, or no such version', { rule: 'no-such-secret' });
  }
  const due = dueAt(row.secret_expires_at, row.expires_at);
  if (due !== null && due <= ctx.now().getTime()) {
    throw new AppError('gone', `version ${row.version} has expired`, { rule: 'expired' });
  }
  if (!hasValue(row)) throw new AppError('gone', `version ${row.version} was destroyed`, { rule: 'destroyed' });
  return row;
}

function hasValue(row: ReadableRow): row is FoundVersion {
  return row.ciphertext !== null;
}

/** One record for each secret on the way. */
export function happeningsOf(hops: Hops): Happenings {
  return hops.map(happeningOf) as Happenings;
}

function happeningOf({ vault, rule, name, row }: Hop): Happening {
  const resource = { name, vault: vault.name, vaultId: vault.id, version: row.version };
  return { action: 'secret.read', resource, rule, dekVersion: envelopeKeyVersion(row.ciphertext) };
}

/** Opens the value at the end of the way. Nothing of it leaves this process before its records are durable: see `audited`. */
export async function openLast(ctx: VaultContext, hops: Hops): Promise<Secret> {
  const [asked, last] = [hops[0], hops.at(-1)!];
  const bytes = await openHop(ctx, last);
  return {
    name: asked.name,
    version: asked.row.version,
    metadata: JSON.parse(asked.row.metadata) as Metadata,
    createdAt: new Date(asked.row.created_at),
    bytes,
    encoding: last.row.encoding,
    contentType: last.row.content_type ?? undefined,
    expiresAt: soonestEnd(hops),
    ...(hops.length > 1 ? { target: targetOf(last) } : {}),
    tag: tagOf(hops),
  };
}

/** Notes who has read these versions, once that is recorded: what the log did not take was read by nobody. */
export function noteReads(ctx: VaultContext, caller: Caller, rows: Pick<VersionRow, 'secret_id' | 'version'>[]): void {
  const at = ctx.now().getTime();
  const by = principalOf(caller);
  for (const { secret_id: secretId, version } of rows) ctx.lastReads.note({ secretId, version, at, by });
}

function targetOf({ vault, name, row }: Hop): NonNullable<Secret['target']> {
  return { vault: vault.name, name, version: row.version };
}

function tagOf(hops: Hops): string {
  return hops.map(({ row }) => row.version).join('-');
}

// Vault, name and version come from the request, not from the row: a row moved by
// someone with access to the database does not open.
function openHop(ctx: VaultContext, { vault, name, row }: Hop): Promise<Uint8Array> {
  const id = { vaultId: vault.id, name, secretId: row.secret_id, version: row.version };
  return openVersionSoon(ctx, id, row.ciphertext);
}

function soonestEnd(hops: Hop[]): Date | undefined {
  let soonest: number | null = null;
  for (const { row } of hops) soonest = dueAt(soonest, dueAt(row.secret_expires_at, row.expires_at));
  return soonest === null ? undefined : new Date(soonest);
}
