import { webhookEvents } from '@cardea/contracts/webhooks/events';
import type { WebhookEventKind } from '@cardea/contracts/webhooks/events';
import type { WebhookEndpoint } from '@cardea/contracts/webhooks/sender';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { insertDeliveries } from './delivery-store.ts';
import type { NewDelivery } from './delivery-store.ts';

/** How long a delivery is tried, in milliseconds. */
export const TRIED_FOR_MS = DAY_MS;

/** Something that receivers of webhooks may want to hear of. */
export interface Publication {
  kind: WebhookEventKind;
  /** As `webhookEvents` describes it. Fields that are not described there are left out. */
  data: Record<string, unknown>;
  /** Milliseconds since 1970. */
  at: number;
}

/**
 * Writes one delivery for each event and each receiver that wants it, in the transaction of the change that the events
 * report. So a process that is killed loses neither of the two, or both.
 * @throws ZodError for data of another kind
 */
export async function publish(
  ctx: Pick<VaultContext, 'db' | 'settings'>,
  tx: Transaction,
  publications: Publication[],
): Promise<void> {
  const deliveries = publications.flatMap((publication) => toDeliveries(ctx, publication));
  if (deliveries.length > 0) await insertDeliveries(tx, ctx.db.engine, deliveries);
}

/** Whether any receiver wants events of this kind. */
export function isWanted(ctx: Pick<VaultContext, 'settings'>, kind: WebhookEventKind): boolean {
  return receiversOf(ctx, kind).length > 0;
}

function toDeliveries(ctx: Pick<VaultContext, 'settings'>, { kind, data, at }: Publication): NewDelivery[] {
  const receivers = receiversOf(ctx, kind);
  if (receivers.length === 0) return [];
  const timestamp = new Date(at).toISOString();
  const body = JSON.stringify({ type: kind, timestamp, data: webhookEvents[kind].parse(data) });
  return receivers.map(({ name }) => ({
    id: uuidv7(at),
    endpoint: name,
    kind,
    body,
    giveUpAt: at + TRIED_FOR_MS,
    createdAt: at,
  }));
}

function receiversOf({ settings }: Pick<VaultContext, 'settings'>, kind: WebhookEventKind): WebhookEndpoint[] {
  return settings.webhooks.filter(({ events }) => events.has(kind));
}
