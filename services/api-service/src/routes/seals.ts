import * as contract from '@cardea/contracts/seals';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as seals from '@cardea/vault/seals/seals';
import { empty } from './empty.ts';

export function sealRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.listSeals, async ({ caller }) => {
      return (await seals.listSeals(ctx, caller)).map((items) => ({ body: { items } }));
    }),

    route(contract.addSeal, async ({ caller, body }) => {
      return (await seals.addSeal(ctx, caller, body)).map((made) => ({ body: made }));
    }),

    route(contract.removeSeal, async ({ caller, params }) => {
      return (await seals.removeSeal(ctx, caller, params.id)).map(empty);
    }),

    route(contract.unfreezeUnwraps, async ({ caller, body }) => {
      return (await seals.unfreezeUnwraps(ctx, caller, body)).map(empty);
    }),
  ];
}
