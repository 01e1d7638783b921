import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from '../context.ts';
import { audited } from '../record.ts';
import { countsOf } from '../rotation/rotation-counts.ts';
import { findRotation } from '../rotation/rotation-store.ts';
import type { RotationCounts, RotationRow } from '../rotation/rotation-store.ts';
import { signerOf } from './signer.ts';
import type { VerifiedWebhook } from './verify-webhook.ts';

/** How far a KEK rotation is. It shows no vault and no name. */
export interface FollowedRotation extends RotationCounts {
  id: string;
  state: RotationRow['state'];
  startedAt: Date;
  finishedAt?: Date;
}

/** Shows a sender of webhooks a KEK rotation. @throws AppError `not_found`, also for a rotation of DEKs */
export async function followRotation(
  ctx: VaultContext,
  caller: Caller,
  { webhook, id }: { webhook: VerifiedWebhook; id: string },
): Promise<Audited<FollowedRotation>> {
  const signer = signerOf(caller, webhook);
  const row = await findRotation(ctx.db, id);
  if (row?.kind !== 'kek') {
    throw new AppError('not_found', 'no such KEK rotation', { rule: 'no-such-rotation', actor: signer.actor });
  }
  const facts = { action: 'webhook.follow', rule: 'webhook-signed', resource: { name: id } } as const;
  const followed = toFollowed(row, await countsOf(ctx.db, row));
  return audited(ctx, signer, 'signed-in', facts, () => followed);
}

function toFollowed({ id, state, started_at, finished_at }: RotationRow, counts: RotationCounts): FollowedRotation {
  return {
    id,
    state,
    ...counts,
    startedAt: new Date(started_at),
    ...(finished_at === null ? {} : { finishedAt: new Date(finished_at) }),
  };
}
