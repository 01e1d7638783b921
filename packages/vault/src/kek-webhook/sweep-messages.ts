import type { JobRun } from '@cardea/jobs/queue';
import type { VaultContext } from '../context.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { removePages } from '../sweep.ts';
import { removeMessagesBefore } from './message-store.ts';

/**
 * A webhook counts for 10 minutes at most, from 5 before its timestamp to 5 after it. Its id is kept for a day, so that
 * a clock that is set back by hours does not make it count again.
 */
const KEPT_MS = DAY_MS;

/** Deletes the ids of webhooks that are too old to be accepted again. */
export async function sweepMessages(ctx: VaultContext, run: JobRun): Promise<void> {
  const before = ctx.now().getTime() - KEPT_MS;
  await removePages(ctx, run, (tx, limit) => removeMessagesBefore(tx, { before, limit }));
}
