import * as contract from '@cardea/contracts/webhooks/deliveries';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { listDeliveries, retryDelivery } from '@cardea/vault/webhooks/deliveries';
import type { Delivery } from '@cardea/vault/webhooks/deliveries';

export function deliveryRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.listDeliveries, async ({ caller, query }) => {
      const page = await listDeliveries(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(toWire), ...rest } }));
    }),

    route(contract.retryDelivery, async ({ caller, params }) => {
      return (await retryDelivery(ctx, caller, params.id)).map((delivery) => ({ body: toWire(delivery) }));
    }),
  ];
}

function toWire({ createdAt, nextAttemptAt, endedAt, ...delivery }: Delivery) {
  return {
    ...delivery,
    createdAt: createdAt.toISOString(),
    ...(nextAttemptAt === undefined ? {} : { nextAttemptAt: nextAttemptAt.toISOString() }),
    ...(endedAt === undefined ? {} : { endedAt: endedAt.toISOString() }),
  };
}
