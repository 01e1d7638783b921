import * as contract from '@cardea/contracts/grants';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import type { Granted } from '@cardea/vault/decide';
import { explainAccess } from '@cardea/vault/grants/explain-access';
import { deleteGrant, listGrants, putGrant, readGrant } from '@cardea/vault/grants/grants';
import { expiryOf } from '@cardea/vault/secrets/lifecycle/due';
import { empty } from './empty.ts';

export function grantRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.listGrants, async ({ caller, params, query }) => {
      const page = await listGrants(ctx, caller, { ...params, ...query });
      return page.map(({ items, ...rest }) => ({
        body: { items: items.map(({ principal, ...granted }) => ({ principal, ...grantToWire(granted) })), ...rest },
      }));
    }),

    route(contract.readGrant, async ({ caller, params }) => {
      const read = await readGrant(ctx, caller, params);
      return read.map(({ principal, ...granted }) => ({ body: { principal, ...grantToWire(granted) } }));
    }),

    route(contract.putGrant, async ({ caller, params, body }) => {
      const { expiresAt: _at, ttlSeconds: _seconds, ...rest } = body;
      const granted = { ...rest, expiresAt: expiryOf(body, ctx.now().getTime()) ?? undefined };
      const put = await putGrant(ctx, caller, params, granted);
      return put.map(({ grant: { principal, ...kept }, isNew }) => ({
        status: isNew ? 201 : 200,
        body: { principal, ...grantToWire(kept) },
      }));
    }),

    route(contract.deleteGrant, async ({ caller, params }) => (await deleteGrant(ctx, caller, params)).map(empty)),

    route(contract.explainAccess, async ({ caller, body }) => {
      const explained = await explainAccess(ctx, caller, body);
      return explained.map((decision) => ({ body: decision }));
    }),
  ];
}

export function grantToWire({ owner, secrets, keys, allowedCidrs, pathPrefix, keyPrefix, expiresAt }: Granted) {
  return {
    owner,
    secrets: [...secrets],
    keys: [...keys],
    allowedCidrs: [...allowedCidrs],
    ...(pathPrefix === undefined ? {} : { pathPrefix }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
  };
}
