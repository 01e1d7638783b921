import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { REFERENCE_TYPE } from '@cardea/contracts/secrets/secret-shapes';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import { reworded } from '../about-one.ts';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import type { EventFactsList } from '../record.ts';
import { dueAt } from './lifecycle/due.ts';
import { getReadable } from './readable.ts';
import type { FoundVersion } from './readable.ts';
import { REFERENCE_HOPS_MAX, parseReference, tooManyHops } from './references.ts';
import { openVersion } from './sealing.ts';
import type { Secret, SecretRef } from './secret.ts';

/** One secret in a chain of references that leads to a value. */
export interface Hop {
  vault: { id: string; name: string };
  rule: AuditRule;
  name: string;
  row: FoundVersion;
}

/** The chain from the secret that was asked for to the secret that has the value. */
export type Hops = [Hop, ...Hop[]];

/** Follows a reference to its value, with the caller's own rights at every hop. @throws AppError as `readSecret` */
export async function followReferences(ctx: VaultContext, caller: Caller, asked: Hop): Promise<Hops> {
  const hops: Hops = [asked];
  while (hops.at(-1)!.row.content_type === REFERENCE_TYPE) {
    if (hops.length > REFERENCE_HOPS_MAX) throw tooManyHops('conflict');
    hops.push(await followHop(ctx, caller, hops.at(-1)!));
  }
  return hops;
}

/** A secret that the caller may read. @throws AppError as `readSecret` */
export async function findHop(ctx: VaultContext, caller: Caller, ref: SecretRef): Promise<Hop> {
  const { vault, rule } = await authorize(ctx, caller, 'secret.read', ref);
  const row = await getReadable(ctx, ctx.db, { vaultId: vault.id, ...ref });
  return { vault, rule, name: ref.name, row };
}

async function followHop(ctx: VaultContext, caller: Caller, hop: Hop): Promise<Hop> {
  const target = parseReference(await openHop(ctx, hop));
  try {
    return await findHop(ctx, caller, target);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // The record names the target, because the caller was refused there: a reference gives no right to its target.
    const resource = { vault: target.vault, name: target.name };
    throw reworded(error, `the target of the reference: ${error.message}`, { resource });
  }
}

/** One record for each secret in the chain. */
export function factsOfHops(hops: Hops): EventFactsList {
  return hops.map(factsOfHop) as EventFactsList;
}

function factsOfHop({ vault, rule, name, row }: Hop): EventFacts {
  const resource = { name, vault: vault.name, vaultId: vault.id, version: row.version };
  return { action: 'secret.read', resource, rule, dekVersion: envelopeKeyVersion(row.ciphertext) };
}

/** Opens the last value of the chain. It does not leave this process before its records are durable: see `audited`. */
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
    expiresAt: soonestExpiry(hops),
    ...(hops.length > 1 ? { target: targetOf(last) } : {}),
    tag: tagOf(hops),
  };
}

function targetOf({ vault, name, row }: Hop): NonNullable<Secret['target']> {
  return { vault: vault.name, name, version: row.version };
}

export function tagOf(hops: Hops): string {
  return hops.map(({ row }) => row.version).join('-');
}

// Vault and name come from the request, not from the row. So a row that was moved or renamed in the database does not
// open.
function openHop(ctx: VaultContext, { vault, name, row }: Hop): Promise<Uint8Array> {
  return openVersion(ctx, { vault, name, secretId: row.secret_id, version: row.version }, row);
}

function soonestExpiry(hops: Hop[]): Date | undefined {
  let soonest: number | null = null;
  for (const { row } of hops) soonest = dueAt(soonest, dueAt(row.secret_expires_at, row.expires_at));
  return soonest === null ? undefined : new Date(soonest);
}
