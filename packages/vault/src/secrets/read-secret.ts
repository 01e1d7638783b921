import { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { isKnown, requireMatch } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { audited } from '../record.ts';
import { noteReads } from './lifecycle/last-reads.ts';
import { factsOfHops, findHop, followReferences, openLast, tagOf } from './reference-hops.ts';
import type { Hops } from './reference-hops.ts';
import type { Secret, SecretRef } from './secret.ts';

/** How a secret is read. */
export interface Reading {
  conditions: Conditions;
  /** True to follow a reference, with the caller's own rights at every hop. False to read the reference itself. */
  resolve: boolean;
}

/**
 * Reads a version. If the client already has it, the value is not sent again and no read is recorded.
 * @throws AppError `not_found`, `access_denied`, `gone`, `precondition_failed`, `sealed`, `unavailable`; `conflict` if
 * the chain of references is too long; IntegrityError if the row is not the one that was asked for
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
  const read = await audited(ctx, caller, factsOfHops(hops), () => openLast(ctx, hops));
  const rows = hops.map(({ row }) => row);
  noteReads(ctx, caller, rows);
  return read;
}
