import { setTimeout as sleep } from 'node:timers/promises';
import type { SendFailure, WebhookEndpoint, WebhookRequest } from '@cardea/contracts/webhooks/sender';
import { signWebhook } from '@cardea/crypto/webhook-signature';
import type { JobRun } from '@cardea/jobs/queue';
import type { VaultContext } from '../context.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { changeDue } from '../sweep.ts';
import { claimDelivery, endDelivery, findDueDelivery, postponeDelivery } from './delivery-store.ts';
import type { DueDelivery } from './delivery-store.ts';
import { giveUp } from './give-up.ts';

/** The wait after the first failed attempt, the second and so on. The last one repeats until a day is over. */
const WAITS_MS = [5 * SECOND_MS, 30 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS];

/** Longer than any attempt takes. A delivery whose process was killed is due again after this. */
const CLAIM_MS = MINUTE_MS;

/** A run takes no new delivery after this, so that one job does not run forever. */
const RUN_MS = 20 * SECOND_MS;

/** How often a receiver without due deliveries is looked at again while another one is busy. */
const LOOK_AGAIN_MS = SECOND_MS / 2;

/**
 * Sends the deliveries that are due: to each receiver one at a time, to different receivers at the same time, so that a
 * slow receiver holds up no other. Any number of processes may do this at once. A delivery arrives at least once; its
 * `webhook-id` is the same each time.
 * @throws the first error that is not the fault of a receiver, after the other receivers were served
 */
export async function deliverWebhooks(ctx: VaultContext, run: JobRun): Promise<void> {
  const stopAt = performance.now() + RUN_MS;
  let sending = 0;

  async function serve(endpoint: WebhookEndpoint): Promise<void> {
    while (performance.now() < stopAt && !run.signal.aborted) {
      const due = await findDueDelivery(ctx.db, { endpoint: endpoint.name, now: ctx.now().getTime() });
      if (due) {
        sending += 1;
        await attempt(ctx, endpoint, due, run).finally(() => (sending -= 1));
      } else if (sending > 0) await sleep(LOOK_AGAIN_MS);
      else return;
    }
  }

  const lanes = await Promise.allSettled(ctx.settings.webhooks.map(serve));
  const failed = lanes.find((lane) => lane.status === 'rejected');
  if (failed) throw failed.reason;
}

async function attempt(ctx: VaultContext, endpoint: WebhookEndpoint, due: DueDelivery, run: JobRun): Promise<void> {
  if (!(await claim(ctx, endpoint, due))) return;
  const failure = await ctx.webhookSender.post(endpoint, requestOf(ctx, endpoint, due), run.signal);
  run.done(1);
  const attempted = { ...due, attempts: due.attempts + 1 };
  if (failure === undefined) await noteDelivered(ctx, attempted);
  else await noteFailure(ctx, endpoint, attempted, failure);
}

// The first attempt is recorded before it is made: nothing leaves Cardea before its record is durable (I1).
async function claim(ctx: VaultContext, endpoint: WebhookEndpoint, due: DueDelivery): Promise<boolean> {
  ctx.audit.admit();
  const next = { ...due, nextAttemptAt: ctx.now().getTime() + CLAIM_MS };
  if (due.attempts > 0) return ctx.db.transaction((tx) => claimDelivery(tx, next));
  const claimed = await changeDue(ctx, async (tx) => {
    if (!(await claimDelivery(tx, next))) return [];
    const reason = `${due.kind} to ${endpoint.name}`;
    return [{ action: 'webhook.deliver', rule: 'event', reason, resource: { name: due.id } }];
  });
  return claimed === 1;
}

// Signed anew for each attempt, because receivers refuse a timestamp that is five minutes old.
function requestOf(ctx: VaultContext, { key }: WebhookEndpoint, { id, body }: DueDelivery): WebhookRequest {
  const timestampSeconds = Math.floor(ctx.now().getTime() / SECOND_MS);
  return {
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Cardea',
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signWebhook(key, { id, timestampSeconds, body }),
    },
    body,
  };
}

async function noteDelivered(ctx: VaultContext, { id, attempts }: DueDelivery): Promise<void> {
  const ending = { id, attempts, state: 'delivered', failure: null, at: ctx.now().getTime() } as const;
  await ctx.db.transaction((tx) => endDelivery(tx, ending));
}

async function noteFailure(
  ctx: VaultContext,
  { name: endpoint }: WebhookEndpoint,
  attempted: DueDelivery,
  failure: SendFailure,
): Promise<void> {
  const now = ctx.now().getTime();
  const { id, attempts, kind, give_up_at: giveUpAt } = attempted;
  const delivery = { id, attempts, kind, endpoint };
  // A stop of this process is no fault of the receiver: the next process tries at once.
  if (failure === 'aborted') return postpone(ctx, attempted, { nextAttemptAt: now, failure });
  // 410 means that the receiver wants no more (Standard Webhooks, "Deliverability and reliability").
  if (failure === 'status-410') return giveUp(ctx, delivery, { rule: 'delivery-refused', failure });
  if (now >= giveUpAt) return giveUp(ctx, delivery, { rule: 'delivery-abandoned', failure });
  const nextAttemptAt = Math.min(now + waitAfter(attempts), giveUpAt);
  await postpone(ctx, attempted, { nextAttemptAt, failure });
}

function waitAfter(attempts: number): number {
  return WAITS_MS[attempts - 1] ?? WAITS_MS.at(-1)!;
}

async function postpone(
  ctx: VaultContext,
  { id, attempts }: DueDelivery,
  next: { nextAttemptAt: number; failure: SendFailure },
): Promise<void> {
  await ctx.db.transaction((tx) => postponeDelivery(tx, { id, attempts, ...next }));
}
