import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { REFERENCE_TYPE } from '@cardea/contracts/secrets/secret-shapes';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import { reworded } from '../about-one.ts';
import { authorize, authorizeFound } from '../authorize.ts';
import type { Allowed } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import type { Opening } from '../deks/opening.ts';
import type { EventFactsList } from '../record.ts';
import { dueAt } from './lifecycle/due.ts';
import type { ReadRows } from './read-rows.ts';
import { getReadable, requireReadable } from './readable.ts';
import type { FoundVersion } from './readable.ts';
import { asWritten, isBoundTo, parseBound } from './reference-value.ts';
import { REFERENCE_HOPS_MAX, tooManyHops } from './references.ts';
import { openVersion } from './sealing.ts';
import type { Secret, SecretRef } from './secret.ts';

/** One secret in a chain of references that leads to a value. */
export interface Hop {
  allowed: Allowed;
  name: string;
  row: FoundVersion;
}

/** The chain from the secret that was asked for to the secret that has the value. */
export type Hops = [Hop, ...Hop[]];

/** Follows a reference to its value, with the caller's own rights at every hop. @throws AppError as `readSecret` */
export async function followReferences(ctx: VaultContext, caller: Caller, asked: Hop, opening: Opening): Promise<Hops> {
  const hops: Hops = [asked];
  while (hops.at(-1)!.row.content_type === REFERENCE_TYPE) {
    if (hops.length > REFERENCE_HOPS_MAX) throw tooManyHops('conflict');
    hops.push(await followHop(ctx, caller, hops.at(-1)!, opening));
  }
  return hops;
}

/** A secret that the caller may read. `found` was looked up together with the caller. @throws AppError as `readSecret` */
export async function findHop(ctx: VaultContext, caller: Caller, ref: SecretRef, found?: ReadRows): Promise<Hop> {
  const { name, version } = ref;
  const allowed = found
    ? authorizeFound(ctx, caller, 'secret.read', { found: found.grantedIn, name })
    : await authorize(ctx, caller, 'secret.read', ref);
  const row = found?.secret
    ? requireReadable(ctx, found.secret)
    : await getReadable(ctx, ctx.db, { vaultId: allowed.vault.id, name, version });
  return { allowed, name, row };
}

async function followHop(ctx: VaultContext, caller: Caller, hop: Hop, opening: Opening): Promise<Hop> {
  const target = parseBound(await openHop(opening, hop));
  try {
    const found = await findHop(ctx, caller, target);
    if (isBoundTo(target, { vaultId: found.allowed.vault.id, secretId: found.row.secret_id })) return found;
    throw madeAgain();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // The record names the target, because the caller was refused there: a reference gives no right to its target.
    const resource = { vault: target.vault, name: target.name };
    throw reworded(error, `the target of the reference: ${error.message}`, { resource });
  }
}

// Somebody who makes a name again must not give their value to those who trust an older reference to it. Only a caller who may
// read the secret that has the name now gets here.
function madeAgain(): AppError {
  const message = 'its vault or its secret was made after the reference: write the reference again to point to it';
  return new AppError('conflict', message, { rule: 'reference-target' });
}

/** The rights by which a chain is read. */
export function rightsOf(hops: Hops): [Allowed, ...Allowed[]] {
  return hops.map(({ allowed }) => allowed) as [Allowed, ...Allowed[]];
}

/** One record for each secret in the chain. */
export function factsOfHops(hops: Hops): EventFactsList {
  return hops.map(factsOfHop) as EventFactsList;
}

/** The records of an answer that shows the entity tag and no value. */
export function factsOfTag(hops: Hops): EventFactsList {
  return factsOfHops(hops).map((facts) => ({ ...facts, reason: 'only the version was shown' })) as EventFactsList;
}

function factsOfHop({ allowed: { vault, rule }, name, row }: Hop): EventFacts {
  const resource = { name, vault: vault.name, vaultId: vault.id, version: row.version };
  return { action: 'secret.read', resource, rule, dekVersion: envelopeKeyVersion(row.ciphertext) };
}

/** Opens the last value of the chain. It does not leave this process before its records are durable: see `audited`. */
export async function openLast(opening: Opening, hops: Hops): Promise<Secret> {
  const [asked, last] = [hops[0], hops.at(-1)!];
  const bytes = asWritten(last.row, await openHop(opening, last));
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

function targetOf({ allowed: { vault }, name, row }: Hop): NonNullable<Secret['target']> {
  return { vault: vault.name, name, version: row.version };
}

export function tagOf(hops: Hops): string {
  return hops.map(({ row }) => row.version).join('-');
}

// Vault and name come from the request, not from the row. So a row that was moved or renamed in the database does not
// open.
function openHop(opening: Opening, { allowed: { vault }, name, row }: Hop): Promise<Uint8Array> {
  return openVersion(opening, { vault, name, secretId: row.secret_id, version: row.version }, row);
}

function soonestExpiry(hops: Hop[]): Date | undefined {
  let soonest: number | null = null;
  for (const { row } of hops) soonest = dueAt(soonest, dueAt(row.secret_expires_at, row.expires_at));
  return soonest === null ? undefined : new Date(soonest);
}
