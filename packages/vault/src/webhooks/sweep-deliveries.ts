import type { JobRun } from '@cardea/jobs/queue';
import type { VaultContext } from '../context.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { removePages } from '../sweep.ts';
import { listAwaitedEndpoints, listOverdueDeliveries, removeDeliveriesBefore } from './delivery-store.ts';
import { giveUp } from './give-up.ts';

const DELIVERED_KEPT_MS = 7 * DAY_MS;
const DEAD_KEPT_MS = 30 * DAY_MS;
const PAGE = 500;

/**
 * Gives up the deliveries that nothing attempts any more, because their receiver is not configured and their day is
 * over. Deletes delivered ones after 7 days and dead ones after 30.
 */
export async function sweepDeliveries(ctx: VaultContext, run: JobRun): Promise<void> {
  const configured = new Set(ctx.settings.webhooks.map(({ name }) => name));
  const awaited = await listAwaitedEndpoints(ctx.db);
  for (const endpoint of awaited.filter((name) => !configured.has(name))) await giveUpOverdue(ctx, run, endpoint);
  await removeOld(ctx, run, { state: 'delivered', keptMs: DELIVERED_KEPT_MS });
  await removeOld(ctx, run, { state: 'dead', keptMs: DEAD_KEPT_MS });
}

async function giveUpOverdue(ctx: VaultContext, run: JobRun, endpoint: string): Promise<void> {
  const now = ctx.now().getTime();
  const rule = 'delivery-abandoned';
  for (;;) {
    const overdue = await listOverdueDeliveries(ctx.db, { endpoint, now, limit: PAGE });
    for (const delivery of overdue) await giveUp(ctx, { ...delivery, endpoint }, { rule, failure: 'not-configured' });
    run.done(overdue.length);
    if (overdue.length < PAGE) return;
    run.signal.throwIfAborted();
  }
}

async function removeOld(
  ctx: VaultContext,
  run: JobRun,
  { state, keptMs }: { state: 'delivered' | 'dead'; keptMs: number },
): Promise<void> {
  const before = ctx.now().getTime() - keptMs;
  await removePages(ctx, run, (tx, limit) => removeDeliveriesBefore(tx, { state, before, limit }));
}
