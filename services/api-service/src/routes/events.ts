import { listEvents, listSystemEvents } from '@cardea/contracts/events';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as events from '@cardea/vault/events/events';

export function eventRoutes(ctx: VaultContext): Route[] {
  return [
    route(listEvents, async ({ caller, params, query }) => {
      const page = await events.listEvents(ctx, caller, { ...params, ...query });
      return page.map((body) => ({ body }));
    }),

    route(listSystemEvents, async ({ caller, query }) => {
      const page = await events.listSystemEvents(ctx, caller, query);
      return page.map((body) => ({ body }));
    }),
  ];
}
