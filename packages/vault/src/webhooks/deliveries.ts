import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { findDelivery, listDeliveryRows, reviveDelivery } from './delivery-store.ts';
import type { DeliveryRow, DeliveryState } from './delivery-store.ts';
import { TRIED_FOR_MS } from './publish.ts';

/** A webhook to one receiver. */
export interface Delivery {
  id: string;
  endpoint: string;
  event: string;
  state: DeliveryState;
  attempts: number;
  createdAt: Date;
  nextAttemptAt?: Date;
  endedAt?: Date;
  lastFailure?: string;
}

/** Deliveries to all receivers, the newest first. @throws AppError `access_denied` unless the caller is an admin */
export async function listDeliveries(
  ctx: VaultContext,
  caller: Caller,
  { state, limit, cursor }: { state?: DeliveryState | undefined } & PageRequest,
): Promise<Audited<Page<Delivery>>> {
  const right = authorizeSystem(ctx, caller, 'webhook.manage');
  const list: ListId = ['deliveries', state];
  const [before] = fromCursor(list, cursor, ['']);
  const rows = await listDeliveryRows(ctx.db, { state, before, limit: limit + 1 });
  const page = pageOf(list, rows.map(toDelivery), limit, ({ id }) => [id]);
  const resource = { count: page.items.length };
  return audited(ctx, caller, [right], { action: 'webhook.list', rule: right.rule, resource }, () => page);
}

/**
 * Makes a dead delivery due again, with a new day of attempts and the same `webhook-id`.
 * @throws AppError `access_denied` unless the caller is an admin; `not_found`; `conflict` if it is not dead
 */
export async function retryDelivery(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<Delivery>> {
  const { rule } = authorizeSystem(ctx, caller, 'webhook.manage');
  return changed(ctx, caller, async (tx) => {
    const found = await findDelivery(tx, id);
    if (!found) throw new AppError('not_found', 'no such delivery', { rule: 'no-such-delivery' });
    const at = ctx.now().getTime();
    const revived = await reviveDelivery(tx, { id, at, giveUpAt: at + TRIED_FOR_MS });
    if (!revived) throw new AppError('conflict', 'only a dead delivery can be sent again', { rule: 'not-dead' });
    const reason = `${found.kind} to ${found.endpoint}`;
    const value = toDelivery((await findDelivery(tx, id))!);
    const changes = changesBetween({ state: found.state }, { state: value.state });
    const facts: EventFacts = { action: 'webhook.retry', rule, reason, changes, resource: { name: id } };
    return { value, facts };
  });
}

function toDelivery(row: DeliveryRow): Delivery {
  return {
    id: row.id,
    endpoint: row.endpoint,
    event: row.kind,
    state: row.state,
    attempts: row.attempts,
    createdAt: new Date(row.created_at),
    ...(row.next_attempt_at === null ? {} : { nextAttemptAt: new Date(row.next_attempt_at) }),
    ...(row.ended_at === null ? {} : { endedAt: new Date(row.ended_at) }),
    ...(row.last_failure === null ? {} : { lastFailure: row.last_failure }),
  };
}
