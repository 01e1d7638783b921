import { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { isKnown, namesOneTag, requireMatch } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { confirmGround } from '../confirm-rights.ts';
import { beginOpening } from '../deks/opening.ts';
import { audited } from '../record.ts';
import { noteReads } from './lifecycle/last-reads.ts';
import { factsOfHops, factsOfTag, findHop, followReferences, openLast, rightsOf, tagOf } from './reference-hops.ts';
import type { Hops } from './reference-hops.ts';
import type { ReadRows } from './read-rows.ts';
import type { Secret, SecretRef } from './secret.ts';

/** How a secret is read. */
export interface Reading {
  conditions: Conditions;
  /** True to follow a reference, with the caller's own rights at every hop. False to read the reference itself. */
  resolve: boolean;
  /** What was found together with the caller: see `findCallerAndRows`. Looked up here otherwise. */
  found?: ReadRows | undefined;
}

/**
 * Reads a version. If the client already has it, the value is not sent again and no read is recorded, unless the client
 * did not name this version alone: then the answer tells it which version is the newest.
 * @throws AppError `not_found`, `access_denied`, `gone`, `precondition_failed`, `sealed`, `unavailable`; `conflict` if
 * the chain of references is too long; IntegrityError if the row is not the one that was asked for
 */
export async function readSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: SecretRef,
  { conditions, resolve, found }: Reading,
): Promise<Audited<Secret> | NotModified> {
  const opening = beginOpening(ctx, caller);
  const asked = await findHop(ctx, caller, ref, found);
  const hops: Hops = resolve ? await followReferences(ctx, caller, asked, opening) : [asked];
  const tag = tagOf(hops);
  requireMatch(conditions, tag);
  if (isKnown(conditions, tag)) {
    if (namesOneTag(conditions)) await confirmGround(ctx, caller, rightsOf(hops));
    else await audited(ctx, caller, rightsOf(hops), factsOfTag(hops), () => undefined);
    return new NotModified({ ETag: `"${tag}"` });
  }
  const secret = await openLast(opening, hops);
  const read = await audited(ctx, caller, rightsOf(hops), factsOfHops(hops), () => secret);
  const rows = hops.map(({ row }) => row);
  noteReads(ctx, caller, rows);
  return read;
}
