import { labelsOf, listSecrets, searchSecrets } from '@cardea/contracts/secrets/listing';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as listing from '@cardea/vault/secrets/listing/list-secrets';
import * as searching from '@cardea/vault/secrets/listing/search-secrets';
import { optionalTime, summaryToWire } from './secret-wire.ts';

export function listingRoutes(ctx: VaultContext): Route[] {
  return [
    route(listSecrets, async ({ caller, params, query }) => {
      const { deleted, expiringBefore, ...rest } = query;
      const times = expiringBefore === undefined ? {} : { expiringBefore: Date.parse(expiringBefore) };
      const request = { ...params, ...rest, ...times, isTrash: deleted === 'true' };
      const page = await listing.listSecrets(ctx, caller, request);
      return page.map(({ items, ...more }) => ({ body: { items: items.map(itemToWire), ...more } }));
    }),

    route(searchSecrets, async ({ caller, query }) => {
      const { q, limit, cursor } = query;
      const page = await searching.searchSecrets(ctx, caller, { q, labels: labelsOf(query), limit, cursor });
      return page.map(({ items, ...more }) => ({ body: { items: items.map(foundToWire), ...more } }));
    }),
  ];
}

function itemToWire(item: listing.ListedSecret | listing.Folded) {
  return 'prefix' in item ? item : listedToWire(item);
}

function foundToWire({ vault, ...listed }: searching.FoundSecret) {
  return { vault, ...listedToWire(listed) };
}

function listedToWire({ deletedAt, ...summary }: listing.ListedSecret) {
  return { ...summaryToWire(summary), ...optionalTime({ deletedAt }) };
}
